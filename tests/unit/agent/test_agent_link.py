"""A link over real Flight on loopback: order, who loses under each policy, large messages, breaks and their mending."""

from __future__ import annotations

import contextlib
import threading
import time

import numpy as np
import pytest
from hole import Hole
from link_ends import PLAIN, both_ends, wait_for

from slicebed_agent.errors import AgentError, PayloadError
from slicebed_agent.pipeline import session
from slicebed_agent.pipeline.contracts import End, QueuePlan
from slicebed_agent.pipeline.queues import Policy
from slicebed_agent.rpc import flight


@pytest.fixture
def ends(tmp_path):
    with both_ends(tmp_path) as made:
        yield made


def drops(sender):
    return {number: ending.reason for number, ending in sender.ends.items() if ending.end is End.DROPPED}


def test_frames_arrive_in_order_with_all_their_bytes_and_times(ends):
    _, port = ends.plane()
    receiver = ends.receiver(QueuePlan(1000))
    sender = ends.sender(port, QueuePlan(1000), part_bytes=50_000)
    random = np.random.default_rng(3)
    given = [
        (random.standard_normal((2, size)).astype(np.float32), np.arange(size, dtype=np.int64))
        for size in (1, 100, 9_000, 40_000, 3)
    ]
    for tensors in given * 4:
        sender.send(*tensors)
    assert sender.wait(20) == [End.COMPLETED] * 20
    assert [number for number, _ in receiver.seen] == list(range(20))
    for (_, seen), sent in zip(receiver.seen, given * 4, strict=True):
        for one, other in zip(seen, sent, strict=True):
            np.testing.assert_array_equal(one, other)
            assert one.dtype == other.dtype
    third = receiver.frames[3]
    assert (third.parts_in, third.bytes_in) == (13, 40_000 * 16)
    assert third.upstream_sent_ns < third.received_ns <= third.complete_ns
    wait_for(lambda: sender.link.state().frames == 20)
    state = sender.link.state()
    assert (state.frames, state.bytes_after, state.connected) == (20, 4 * sum(16 * t[1].size for t in given), True)


def test_a_link_is_warmed_up_before_its_first_frame(ends):
    plane, port = ends.plane()

    def arrived_bytes():
        (stream,) = plane._streams
        return stream.call.arrived_bytes()

    ends.receiver()
    cold = ends.sender(port)
    assert arrived_bytes() < 10_000
    cold.close()
    receiver = ends.receiver(run_id="next")
    warm = ends.sender(port, run_id="next", warm_bytes=3_000_000)
    # Once at least to have them under way, and again to find that it takes no less.
    assert arrived_bytes() > 3_000_000
    warm.send()
    assert warm.wait(1) == [End.COMPLETED]
    before = arrived_bytes()
    assert [number for number, _ in receiver.seen] == [0]
    warm.close()
    # Of a link that carries little it takes no more than that to fill it.
    ends.receiver(run_id="slow")
    ends.sender(port, run_id="slow", warm_bytes=3_000_000, rate_bit_per_s=1_000_000)
    assert arrived_bytes() < before + 10_000


def test_a_link_that_falls_silent_while_it_is_warmed_up_is_given_up(ends, monkeypatch):
    monkeypatch.setattr(session, "SILENCE_S", 1.0)
    _, port = ends.plane()
    ends.receiver()
    hole = Hole(port, swallows_after_bytes=5_000_000)
    with contextlib.closing(hole), pytest.raises(AgentError, match=r"cloud: no stream .*: nothing came from the agent"):
        ends.sender(hole.port, warm_bytes=60_000_000, rate_bit_per_s=10**11)


def test_a_kept_connection_that_was_forgotten_on_the_way_gives_way_to_a_new_one(ends):
    _, port = ends.plane()
    hole = Hole(port)
    client = flight.Client(PLAIN)
    with contextlib.closing(hole):
        for number, forgotten in enumerate((False, False, True)):
            ends.receiver(run_id=f"run-{number}")
            if forgotten:
                hole.swallow()
            sender = ends.sender(hole.port, run_id=f"run-{number}", client=client, connect_s=4.0)
            sender.send()
            assert sender.wait(1) == [End.COMPLETED]
            sender.close()
            assert hole.connections == 1 + forgotten
    client.close()


def test_a_message_of_100_mb_arrives_and_tells_the_rate(ends):
    _, port = ends.plane()
    receiver = ends.receiver()
    sender = ends.sender(port)
    big = np.arange(25_000_000, dtype=np.float32)
    sender.send(big)
    assert sender.wait(1) == [End.COMPLETED]
    np.testing.assert_array_equal(receiver.seen[0][1][0], big)
    assert sender.link.state().rate_bit_per_s > 100_000_000


def test_newest_is_lost_before_a_sender_that_waits_for_credit(ends):
    _, port = ends.plane()
    receiver = ends.receiver(QueuePlan(2, Policy.BLOCK), paused=True)
    sender = ends.sender(port, QueuePlan(3, Policy.NEWEST))
    for _ in range(2):
        sender.send()
    wait_for(lambda: len(receiver.inbound) == 2)
    for _ in range(5):
        sender.send()
    assert drops(sender) == {5: "queue full", 6: "queue full"}
    assert sender.ends[5].stage == "outbound"
    receiver.going.set()
    sender.wait(7)
    assert [number for number, _ in receiver.seen] == [0, 1, 2, 3, 4]
    assert receiver.ledger.counts()["dropped"] == 0


def test_oldest_makes_room_before_a_sender_that_waits_for_credit(ends):
    _, port = ends.plane()
    receiver = ends.receiver(QueuePlan(1, Policy.BLOCK), paused=True)
    sender = ends.sender(port, QueuePlan(2, Policy.OLDEST))
    sender.send()
    wait_for(lambda: len(receiver.inbound) == 1)
    for _ in range(4):
        sender.send()
    assert drops(sender) == {1: "older than 2 that wait", 2: "older than 2 that wait"}
    receiver.going.set()
    sender.wait(5)
    assert [number for number, _ in receiver.seen] == [0, 3, 4]


def test_whoever_delivers_waits_when_both_queues_block(ends):
    _, port = ends.plane()
    receiver = ends.receiver(QueuePlan(1, Policy.BLOCK), paused=True)
    sender = ends.sender(port, QueuePlan(1, Policy.BLOCK))
    camera = threading.Thread(target=lambda: [sender.send() for _ in range(30)])
    camera.start()
    wait_for(lambda: len(receiver.inbound) == 1)
    assert camera.is_alive()
    receiver.going.set()
    assert sender.wait(30) == [End.COMPLETED] * 30
    camera.join(5)
    assert [number for number, _ in receiver.seen] == list(range(30))


def test_without_credit_the_inbound_queue_decides(ends):
    _, port = ends.plane()
    receiver = ends.receiver(QueuePlan(2, Policy.OLDEST), paused=True)
    sender = ends.sender(port)
    for _ in range(5):
        sender.send()
    wait_for(lambda: len(sender.ends) == 3)
    assert set(drops(sender).values()) == {"older than 2 that wait"}
    assert {ending.stage for ending in sender.ends.values()} == {"inbound"}
    receiver.going.set()
    sender.wait(5)
    assert [number for number, _ in receiver.seen] == [3, 4]


def test_a_boundary_that_cannot_be_encoded_fails_alone(ends, monkeypatch):
    _, port = ends.plane()
    ends.receiver()
    sender = ends.sender(port)
    whole = sender.link._encode

    def encode(tensors, version):
        if tensors[0].size == 7:
            raise PayloadError("no codec for seven")
        return whole(tensors, version)

    monkeypatch.setattr(sender.link, "_encode", encode)
    sender.send()
    lost = sender.send(np.zeros(7))
    sender.send()
    assert sender.wait(3) == [End.COMPLETED, End.FAILED, End.COMPLETED]
    assert str(sender.ends[lost]) == "edge: encode: no codec for seven"


def test_a_link_to_nobody_says_who_is_missing(ends):
    plane, port = ends.plane()
    plane.stop(0)
    with pytest.raises(AgentError, match=r"cloud: no stream to the agent at 127\.0\.0\.1:\d+: failed to connect"):
        ends.sender(port, connect_s=0.3)


def test_a_link_whose_run_the_next_agent_does_not_have_is_refused_at_once(ends):
    _, port = ends.plane()
    began = time.monotonic()
    with pytest.raises(AgentError, match=r"cloud: .*takes no stream here: there is none; prepare from the last"):
        ends.sender(port)
    ends.receiver(run_id="other")
    with pytest.raises(AgentError, match="the current one is 'other'"):
        ends.sender(port)
    assert time.monotonic() - began < 4


def test_a_run_takes_one_stream_and_goes_on_when_another_is_refused(ends):
    _, port = ends.plane()
    ends.receiver()
    sender = ends.sender(port)
    with pytest.raises(AgentError, match="has its stream already"):
        ends.sender(port)
    sender.send()
    assert sender.wait(1) == [End.COMPLETED]


def test_a_stream_that_breaks_ends_the_link_when_the_run_does_not_wait(ends):
    plane, port = ends.plane()
    ends.receiver(paused=True)
    sender = ends.sender(port)
    sender.send()
    wait_for(lambda: sender.link.state().frames == 1)
    plane.stop(0.2)
    wait_for(lambda: sender.broken)
    assert sender.wait(1) == [End.FAILED]
    assert str(sender.ends[0]) == "cloud: link: the agent was stopped"
    sender.send()
    assert sender.ends[1] == sender.ends[0] == sender.broken[0]


def test_a_link_opens_its_stream_again_when_the_next_agent_is_back(ends):
    plane, port = ends.plane()
    receiver = ends.receiver()
    sender = ends.sender(port, QueuePlan(100), reconnect_s=20.0)
    for _ in range(5):
        sender.send()
    sender.wait(5)
    plane.stop(0.2)
    # The agent comes back without the run, which is prepared a moment later.
    receiver.close()
    ends.run = None
    for _ in range(5):
        sender.send()
    ends.plane(address=f"127.0.0.1:{port}")
    wait_for(lambda: not sender.link.state().connected)
    again = ends.receiver()
    # What was under way when it broke failed; what waited since then arrives.
    ended = sender.wait(10)
    assert set(ended[:5]) == {End.COMPLETED}
    assert [number for number, _ in again.seen] == [5 + at for at, end in enumerate(ended[5:]) if end is End.COMPLETED]
    assert again.seen
    sender.send()
    assert sender.wait(11)[-1] is End.COMPLETED
    assert not sender.broken
    assert sender.link.state().reconnects == 1
    events = [note["event"] for note in sender.notes if note["kind"] == "link"]
    assert events == ["broken", "reopened"]


def test_a_link_that_stays_broken_is_given_up_in_time(ends):
    plane, port = ends.plane()
    ends.receiver()
    sender = ends.sender(port, reconnect_s=0.6)
    plane.stop(0.2)
    wait_for(lambda: not sender.link.state().connected)
    sender.send()
    wait_for(lambda: sender.broken)
    assert sender.wait(1) == [End.FAILED]


def test_the_clock_of_the_same_host_is_no_offset(ends):
    _, port = ends.plane()
    ends.receiver()
    sender = ends.sender(port)
    wait_for(lambda: any(note["kind"] == "clock" for note in sender.notes))
    note = next(note for note in sender.notes if note["kind"] == "clock")
    assert abs(note["offset_ns"]) <= note["bound_ns"] < 1_000_000_000
    assert note["next_host"] == "cloud"
    assert sender.link.state().round_trip_ns > 0


def test_frames_that_are_under_way_when_the_link_closes_do_not_hold_it(ends):
    _, port = ends.plane()
    ends.receiver(QueuePlan(1, Policy.BLOCK), paused=True)
    sender = ends.sender(port)
    for _ in range(3):
        sender.send()
    began = time.monotonic()
    sender.link.close(drained=False)
    assert time.monotonic() - began < 4
