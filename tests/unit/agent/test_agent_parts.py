"""Dividing and putting together: any split gives the same bytes; what contradicts itself is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline import parts
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import TensorHead
from slicebed_agent.pipeline.parts import Assembly, FrameHead, Part, check, divide

PROTO = FrameHead(Codec.TENSOR_PROTO, (), 3, 5)


def views(*pieces):
    return [memoryview(piece) for piece in pieces]


@given(pieces=st.lists(st.binary(max_size=800), min_size=1, max_size=6), size=st.integers(1, 2500))
def test_any_split_of_any_buffers_gives_the_same_bytes(pieces, size):
    whole = b"".join(pieces)
    head = FrameHead(Codec.LOSSLESS, (TensorHead("uint8", (len(whole),), len(whole)),), 0, 0)
    divided = list(divide(3, views(*pieces), head, size))
    assert len(divided) == max(1, -(-len(whole) // size))
    assert all(part.payload.nbytes == size for part in divided[:-1])
    assembly = Assembly(divided[0])
    for part in divided:
        check(part)
        payload = assembly.add(part)
        assert (payload is None) != part.last
    assert b"".join(payload.buffers) == whole
    assert (payload.codec, payload.heads) == (head.codec, head.tensors)


def test_neither_side_copies_a_frame_of_one_part():
    array = np.arange(1000, dtype=np.uint8)
    (part,) = divide(0, [array.data], PROTO, 4096)
    (received,) = Assembly(part).add(part).buffers
    array[7] = 99
    assert received[7] == 99


def test_a_view_is_sent_of_a_part_within_one_buffer():
    first, second = np.zeros(10, np.uint8), np.ones(10, np.uint8)
    divided = list(divide(0, [first.data, second.data], PROTO, 8))
    second[:] = 7
    # The middle part spans both buffers and was copied when the parts were made.
    assert [bytes(part.payload)[-1] for part in divided] == [0, 1, 7]


GOOD = Part(frame_id=1, part_index=0, part_count=3, total_bytes=10, payload=memoryview(b"abcd"), head=PROTO)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"part_count": 0}, "part_count 0"),
        ({"part_count": parts.MAX_PART_COUNT + 1}, "part_count"),
        ({"part_index": 3}, "part_index 3 of 3"),
        ({"total_bytes": 0}, "leaves nothing of 0"),
        ({"total_bytes": parts.MAX_FRAME_BYTES + 1}, "total_bytes"),
        ({"payload": memoryview(b"")}, "payload of 0 bytes"),
        ({"payload": memoryview(b"123456789")}, "leaves nothing"),
        ({"head": None}, "part 0 without a head"),
        ({"part_index": 1}, "part 1 with a head"),
        ({"head": FrameHead(Codec.TENSOR_PROTO, (TensorHead("float32", (1,), 4),), 0, 0)}, "1 tensor heads before"),
        ({"head": FrameHead(Codec.RAW, (), 0, 0)}, "0 tensor heads are not 1..256"),
    ],
)
def test_a_part_that_contradicts_itself_is_refused(changes, says):
    check(GOOD)
    with pytest.raises(PayloadError, match=says):
        check(dataclasses.replace(GOOD, **changes))


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (TensorHead("complex256", (1,), 12), "dtype 'complex256'"),
        (TensorHead("float32", (1,) * 65, 12), "65 dimensions"),
        (TensorHead("float32", (4,), 12), "takes 16 bytes, not 12"),
        (TensorHead("float64", (1 << 20, 1 << 20), 12), "is more than 1073741824 bytes"),
        (TensorHead("uint8", (11,), 11), "announce 11 bytes of 12"),
        (TensorHead("float32", (3,), 12, scale=float("inf")), "not both finite"),
    ],
)
def test_a_head_that_contradicts_itself_is_refused(tensor, says):
    good = FrameHead(Codec.RAW, (TensorHead("float32", (3, 1), 12),), 0, 0)
    part = Part(1, 0, 1, 12, memoryview(bytes(12)), good)
    check(part)
    with pytest.raises(PayloadError, match=says):
        check(dataclasses.replace(part, head=dataclasses.replace(good, tensors=(tensor,))))


def test_a_boundary_without_values_travels():
    head = FrameHead(Codec.RAW, (TensorHead("float32", (0, 3), 0),), 0, 0)
    (part,) = divide(0, [memoryview(b"")], head, 100)
    check(part)
    assert Assembly(part).add(part).size_bytes == 0


def test_a_payload_over_the_limit_is_refused():
    size = parts.MAX_PART_BYTES + 1
    with pytest.raises(PayloadError, match="payload of"):
        check(Part(1, 0, 1, size, memoryview(bytes(size)), PROTO))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"part_index": 0}, "part 0 came in place of 1"),
        ({"part_index": 2}, "part 2 came in place of 1"),
        ({"part_count": 4}, "announces 4 parts"),
        ({"total_bytes": 11}, "of 11 bytes"),
        ({"payload": memoryview(b"1234567")}, "hold 11 bytes of 10"),
    ],
)
def test_a_part_that_contradicts_the_first_one_is_refused(changes, says):
    assembly = Assembly(GOOD)
    assembly.add(GOOD)
    second = dataclasses.replace(GOOD, part_index=1, head=None)
    with pytest.raises(PayloadError, match=says):
        assembly.add(dataclasses.replace(second, **changes))


def test_parts_that_do_not_add_up_are_refused():
    first = Part(1, 0, 2, 10, memoryview(b"abcd"), PROTO)
    assembly = Assembly(first)
    assembly.add(first)
    with pytest.raises(PayloadError, match="8 bytes of 10"):
        assembly.add(Part(1, 1, 2, 10, memoryview(b"efgh")))


def test_a_frame_that_the_receiver_would_refuse_is_not_divided():
    with pytest.raises(PayloadError, match="in at most 65536 parts"):
        next(divide(0, views(bytes(70_000)), PROTO, 1))
