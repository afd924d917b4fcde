"""The inbound queue: who loses when it counts messages or frames, and what it tells a sender that may not lose any."""

from __future__ import annotations

import threading

import pytest

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import End, QueuePlan
from slicebed_agent.pipeline.inbound import Inbound
from slicebed_agent.pipeline.ledger import Ledger
from slicebed_agent.pipeline.parts import FrameHead, divide
from slicebed_agent.pipeline.queues import BoundedQueue, Policy
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


def divided(frame_id, data, size, version=0):
    head = FrameHead(Codec.TENSOR_PROTO, (), version, 0)
    return list(divide(frame_id, [memoryview(data)], head, size))


def offer_all(inbound, frame_id, data, size=100):
    for part in divided(frame_id, data, size):
        inbound.offer(part)


def taken(inbound):
    frame, payload = inbound.take()
    return frame.frame_id, b"".join(payload.buffers)


def counting_messages(places, ledger):
    return Inbound(QueuePlan(places, Policy.NEWEST, messages=True), ledger, never)


def never():
    pytest.fail("credit for a queue that does not block")


def test_a_frame_needs_a_place_for_each_part(ledger, ends):
    inbound = counting_messages(10, ledger)
    offer_all(inbound, 0, b"x" * 10, 1)
    assert not ends
    offer_all(inbound, 1, b"y", 1)
    assert str(ends[1]) == "edge: inbound: queue full"
    assert taken(inbound) == (0, b"x" * 10)


def test_parts_of_a_lost_frame_take_places_from_the_next(ledger, ends):
    """Ten places: frame 1 loses its last part, yet what came of it fills the queue against frame 2."""
    inbound = counting_messages(10, ledger)
    offer_all(inbound, 0, b"a" * 5, 1)
    offer_all(inbound, 1, b"b" * 6, 1)
    offer_all(inbound, 2, b"c", 1)
    assert {number: ending.end for number, ending in ends.items()} == {1: End.DROPPED, 2: End.DROPPED}
    assert taken(inbound) == (0, b"a" * 5)
    # Frame 1 still holds its five places: five messages fit, the sixth does not.
    offer_all(inbound, 3, b"d" * 5, 1)
    offer_all(inbound, 4, b"e", 1)
    assert ends.keys() == {1, 2, 4}
    assert taken(inbound) == (3, b"d" * 5)


def test_counting_frames_a_frame_takes_one_place_however_many_parts_it_has(ledger, ends):
    inbound = Inbound(QueuePlan(2), ledger, never)
    for number in range(3):
        offer_all(inbound, number, b"abcdef", 1)
    assert {number: str(ending) for number, ending in ends.items()} == {2: "edge: inbound: queue full"}
    assert [taken(inbound)[0], taken(inbound)[0]] == [0, 1]


def test_the_oldest_frame_makes_room(ledger, ends):
    inbound = Inbound(QueuePlan(2, Policy.OLDEST), ledger, never)
    for number in range(5):
        offer_all(inbound, number, b"abc")
    assert {number: ending.reason for number, ending in ends.items()} == dict.fromkeys(
        (0, 1, 2), "older than 2 that wait"
    )
    assert [taken(inbound)[0], taken(inbound)[0]] == [3, 4]


def test_a_place_that_is_free_again_is_told_to_the_stream_that_counts_on_it(ledger):
    told = []
    inbound = Inbound(QueuePlan(3, Policy.BLOCK), ledger, lambda: told.append(1))
    assert inbound.credit() == 3
    for number in range(3):
        offer_all(inbound, number, b"abc")
    taken(inbound)
    assert told == [1]
    # A stream breaks: the next one is given the places that are free when it begins, and hears of those after that.
    inbound.broken("the stream broke")
    taken(inbound)
    assert told == [1]
    assert inbound.credit() == 2
    taken(inbound)
    assert told == [1, 1]


def test_a_frame_that_misses_parts_fails_when_the_stream_ends(ledger, ends):
    inbound = counting_messages(10, ledger)
    inbound.offer(divided(0, b"abc", 1)[0])
    inbound.broken("the stream broke")
    assert str(ends[0]) == "edge: inbound: the stream broke"
    assert ledger.idle


def test_frames_come_in_the_order_of_their_numbers(ledger):
    inbound = Inbound(QueuePlan(10), ledger, never)
    offer_all(inbound, 4, b"abc")
    for number in (4, 3):
        with pytest.raises(PayloadError, match=f"frame {number}: came after frame 4"):
            offer_all(inbound, number, b"abc")
    offer_all(inbound, 9, b"abc")


def test_frames_cannot_interleave(ledger, ends):
    inbound = Inbound(QueuePlan(10), ledger, never)
    inbound.offer(divided(0, b"abc", 1)[0])
    with pytest.raises(PayloadError, match="came before part 1 of 3 of frame 0"):
        inbound.offer(divided(1, b"abc", 1)[0])
    assert ends.keys() == {0}


def test_frames_that_begin_while_stopping_fail_and_one_under_way_goes_on(ledger, ends):
    inbound = Inbound(QueuePlan(10), ledger, never)
    first, second = divided(0, b"ab", 1)
    inbound.offer(first)
    inbound.refuse("the agent was stopped")
    inbound.offer(second)
    offer_all(inbound, 1, b"z")
    assert ends.keys() == {1}
    assert taken(inbound) == (0, b"ab")


def test_a_frame_knows_its_version(ledger):
    inbound = Inbound(QueuePlan(10), ledger, never)
    for part in divided(0, b"abc", 1, version=7):
        inbound.offer(part)
    assert inbound.take()[0].version == 7


def test_a_queue_never_blocks_who_fills_it_and_wakes_who_waits():
    queue = BoundedQueue(2)
    assert [queue.offer(number) for number in range(3)] == [None, None, 2]
    assert [queue.take(), queue.take()] == [0, 1]
    taken = []
    waiter = threading.Thread(target=lambda: taken.append(queue.take()))
    waiter.start()
    queue.close()
    waiter.join(5)
    assert taken == [None]
    assert queue.offer(9) == 9


def test_closing_a_queue_hands_back_what_nobody_took():
    queue = BoundedQueue(3)
    queue.offer("a")
    queue.offer("b")
    assert queue.close() == ["a", "b"]
    assert queue.take() is None


def test_the_oldest_item_makes_room():
    queue = BoundedQueue(2, Policy.OLDEST)
    assert [queue.offer(number) for number in range(4)] == [None, None, 0, 1]
    assert queue.close() == [2, 3]


def test_whoever_offers_waits_for_a_place_until_the_queue_is_closed():
    queue = BoundedQueue(1, Policy.BLOCK)
    queue.offer(0)
    refused = []
    waiter = threading.Thread(target=lambda: [refused.append(queue.offer(number)) for number in (1, 2)])
    waiter.start()
    assert queue.take() == 0
    assert queue.wait(5)
    queue.close()
    waiter.join(5)
    assert refused[-1] == 2
    assert not queue.wait(0)
