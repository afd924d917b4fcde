"""Dividing and reassembling: any split, any order, the same bytes; anything else is refused."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline import parts
from slicebed_agent.pipeline.parts import Part, Reassembler, check, divide


@given(data=st.binary(min_size=1, max_size=2000), size=st.integers(1, 2500), random=st.randoms())
def test_any_split_in_any_order_gives_the_same_bytes(data, size, random):
    pieces = list(divide(3, data, size))
    assert all(1 <= len(piece.payload) <= size for piece in pieces)
    random.shuffle(pieces)
    reassembler = Reassembler()
    for piece in pieces:
        check(piece)
    assert [reassembler.add(piece) for piece in pieces[:-1]] == [None] * (len(pieces) - 1)
    assert b"".join(reassembler.add(pieces[-1]) or ()) == data
    assert reassembler.held_bytes == 0


@given(
    frames=st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5),
    size=st.integers(1, 50),
    r=st.randoms(),
)
def test_frames_may_interleave(frames, size, r):
    pieces = [piece for number, data in enumerate(frames) for piece in divide(number, data, size)]
    r.shuffle(pieces)
    reassembler = Reassembler()
    whole = {piece.frame_id: b"".join(found) for piece in pieces if (found := reassembler.add(piece)) is not None}
    assert whole == dict(enumerate(frames))


@given(data=st.binary(min_size=2, max_size=500), size=st.integers(1, 100), random=st.randoms())
def test_a_missing_part_never_completes(data, size, random):
    pieces = list(divide(0, data, min(size, len(data) - 1)))
    random.shuffle(pieces)
    reassembler = Reassembler()
    assert [reassembler.add(piece) for piece in pieces[1:]] == [None] * (len(pieces) - 1)
    assert reassembler.held_bytes == len(data) - len(pieces[0].payload)
    reassembler.discard(0)
    assert reassembler.held_bytes == 0


GOOD = Part(frame_id=1, part_index=0, part_count=3, total_bytes=10, payload=b"abcd")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"part_count": 0}, "part_count 0"),
        ({"part_count": parts.MAX_PART_COUNT + 1}, "part_count"),
        ({"part_index": 3}, "part_index 3 of 3"),
        ({"total_bytes": 0}, "total_bytes 0"),
        ({"total_bytes": parts.MAX_FRAME_BYTES + 1}, "total_bytes"),
        ({"payload": b""}, "payload of 0 bytes"),
        ({"payload": b"123456789"}, "leaves nothing"),
    ],
)
def test_a_part_that_contradicts_itself_is_refused(changes, says):
    check(GOOD)
    with pytest.raises(PayloadError, match=says):
        check(dataclasses.replace(GOOD, **changes))


def test_a_payload_over_the_limit_is_refused():
    size = parts.MAX_PART_BYTES + 1
    with pytest.raises(PayloadError, match="payload of"):
        check(Part(1, 0, 1, size, bytes(size)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "came twice"),
        ({"part_index": 1, "part_count": 4}, "announces 4 parts"),
        ({"part_index": 1, "total_bytes": 11}, "of 11 bytes"),
        ({"part_index": 1, "payload": b"1234567"}, "more than the announced 10"),
    ],
)
def test_a_part_that_contradicts_an_earlier_one_is_refused(changes, says):
    reassembler = Reassembler()
    reassembler.add(GOOD)
    with pytest.raises(PayloadError, match=says):
        reassembler.add(dataclasses.replace(GOOD, **changes))


def test_parts_that_do_not_add_up_are_refused():
    reassembler = Reassembler()
    reassembler.add(Part(1, 0, 2, 10, b"abcd"))
    with pytest.raises(PayloadError, match="8 bytes of 10"):
        reassembler.add(Part(1, 1, 2, 10, b"efgh"))


def test_unfinished_frames_cannot_fill_the_memory():
    reassembler = Reassembler(max_held_bytes=100)
    reassembler.add(Part(1, 0, 2, 200, bytes(60)))
    with pytest.raises(PayloadError, match="more than 100"):
        reassembler.add(Part(2, 0, 2, 200, bytes(60)))
    assert reassembler.held_bytes == 60


def test_a_frame_that_the_receiver_would_refuse_is_not_divided():
    with pytest.raises(PayloadError, match="in at most 65536 parts"):
        next(divide(0, bytes(70_000), 1))
