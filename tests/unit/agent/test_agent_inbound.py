"""The inbound queue counts messages; a lost part loses its frame, and the rest of the frame still takes places."""

from __future__ import annotations

import threading

import pytest

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.inbound import Inbound
from slicebed_agent.pipeline.ledger import Ledger
from slicebed_agent.pipeline.parts import divide
from slicebed_agent.pipeline.queues import BoundedQueue
from slicebed_agent.pipeline.samples import Spool


@pytest.fixture
def ends():
    return {}


@pytest.fixture
def ledger(tmp_path, ends):
    def sink(frame, ending):
        assert frame.frame_id not in ends, "a frame ended twice"
        ends[frame.frame_id] = ending
        return ending.end

    spool = Spool(tmp_path / "edge.jsonl")
    yield Ledger("run", "edge", spool, sink)
    spool.close({"kind": "footer"})


def offer_all(inbound, frame_id, data, size):
    for part in divide(frame_id, data, size):
        inbound.offer(part)


def test_a_frame_needs_a_place_for_each_part(ledger, ends):
    inbound = Inbound(10, ledger)
    offer_all(inbound, 0, b"x" * 10, 1)
    assert not ends
    offer_all(inbound, 1, b"y", 1)
    assert str(ends[1]) == "edge: inbound: queue full"
    assert inbound.take()[1] == b"x" * 10


def test_parts_of_a_lost_frame_take_places_from_the_next(ledger, ends):
    """Ten places: frame 1 loses its last part, yet what came of it fills the queue against frame 2."""
    inbound = Inbound(10, ledger)
    offer_all(inbound, 0, b"a" * 5, 1)
    offer_all(inbound, 1, b"b" * 6, 1)
    offer_all(inbound, 2, b"c", 1)
    assert ends.keys() == {1, 2}
    assert ledger.counts() == {"captured": 3, "completed": 0, "dropped": 2, "failed": 0}
    frame, data = inbound.take()
    assert (frame.frame_id, data) == (0, b"a" * 5)
    # Frame 1 still holds its five places: five messages fit, the sixth does not.
    offer_all(inbound, 3, b"d" * 5, 1)
    offer_all(inbound, 4, b"e", 1)
    assert ends.keys() == {1, 2, 4}
    assert inbound.take()[1] == b"d" * 5


def test_a_frame_that_misses_parts_fails_when_the_stream_ends(ledger, ends):
    inbound = Inbound(10, ledger)
    inbound.offer(next(divide(0, b"abc", 1)))
    inbound.broken("the stream broke")
    assert str(ends[0]) == "edge: inbound: the stream broke"
    assert ledger.idle


def test_a_frame_number_cannot_come_again(ledger):
    inbound = Inbound(10, ledger)
    offer_all(inbound, 0, b"abc", 1)
    with pytest.raises(PayloadError, match="after its frame was complete"):
        offer_all(inbound, 0, b"abc", 1)


def test_frames_that_begin_while_stopping_fail_and_those_under_way_go_on(ledger, ends):
    inbound = Inbound(10, ledger)
    first, second = divide(0, b"ab", 1)
    inbound.offer(first)
    inbound.refuse("the agent was stopped")
    offer_all(inbound, 1, b"z", 1)
    inbound.offer(second)
    assert ends.keys() == {1}
    assert inbound.take()[1] == b"ab"


def test_a_queue_never_blocks_who_fills_it_and_wakes_who_waits():
    queue = BoundedQueue(2)
    assert [queue.offer(number) for number in range(3)] == [True, True, False]
    assert [queue.take(), queue.take()] == [0, 1]
    taken = []
    waiter = threading.Thread(target=lambda: taken.append(queue.take()))
    waiter.start()
    queue.close()
    waiter.join(5)
    assert taken == [None]
    assert not queue.offer(9)


def test_closing_a_queue_hands_back_what_nobody_took():
    queue = BoundedQueue(3)
    queue.offer("a")
    queue.offer("b")
    assert queue.close() == ["a", "b"]
    assert queue.take() is None
