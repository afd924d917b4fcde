from __future__ import annotations

import random

import pytest

from slicebed_agent.host.measure.packet import MAX_PROBES, PACKET_BYTES, TOKEN_BYTES, Arrivals, Packet, pack, unpack

TOKEN = bytes(range(TOKEN_BYTES))
ANSWER = Packet(sequence=7, answer=9, received_ns=1_700_000_000_123_456_789, turnaround_ns=12_345)


def test_probe_and_answer_are_of_one_size_and_come_back_as_they_were():
    for packet in (Packet(0), ANSWER):
        data = pack(TOKEN, packet)
        assert len(data) == PACKET_BYTES
        assert unpack(TOKEN, data) == packet


@pytest.mark.parametrize(
    "data",
    [
        b"",
        pack(TOKEN, ANSWER)[:-1],
        pack(TOKEN, ANSWER) + b"\0",
        pack(bytes(TOKEN_BYTES), ANSWER),
        b"SBm2" + pack(TOKEN, ANSWER)[4:],
        pack(TOKEN, Packet(MAX_PROBES)),
        random.Random(1).randbytes(PACKET_BYTES),
    ],
    ids=["empty", "short", "long", "other token", "other magic", "number too high", "noise"],
)
def test_what_is_not_the_sessions_own_is_no_packet(data):
    assert unpack(TOKEN, data) is None


def arrived(*numbers: int) -> Arrivals:
    arrivals = Arrivals()
    for number in numbers:
        arrivals.add(number)
    return arrivals


def test_duplicates_are_told_from_losses():
    arrivals = arrived(0, 1, 1, 3, 3, 3)
    assert (arrivals.distinct, arrivals.duplicates) == (3, 3)


@pytest.mark.parametrize(
    ("order", "overtakings"),
    [((), 0), ((0, 1, 5), 0), ((3, 0, 1, 2), 1), ((0, 4, 5, 1, 2, 3), 2), ((2, 1, 0), 2), ((1, 0, 1), 1)],
)
def test_one_packet_that_overtakes_many_counts_once(order, overtakings):
    assert arrived(*order).overtakings() == overtakings
