from __future__ import annotations

import pytest

from slicebed.errors import ProvisionError
from slicebed.testbed.verify.answers import read_probe, read_session, read_stream

PROBE = {
    "sent": 3, "answers": 2, "duplicates": 0, "overtakings": 0, "overflowed": 0,
    "sent_us": [0.0, 1.5], "rtt_us": [20.0, 21], "forward_us": [-5.0, 7.0],
}  # fmt: skip
RESPONDER = {"received": 2, "duplicates": 1, "overtakings": 0, "answered": 3, "refused": 0, "overflowed": 1}
SOURCE = {
    "mss_bytes": 1448,
    "timestamps": True,
    "ip_version": 4,
    "streams": 4,
    "congestion": "cubic",
    "retransmitted": 3,
}
SINK = {"window_us": 100_000, "windows": [1, 2, 3], "refused": 0}


def test_both_ends_of_a_probe_are_joined_by_direction():
    joined = read_probe(PROBE, RESPONDER, "edge -> cloud")
    assert (joined.sent, joined.forward_received, joined.forward_duplicates) == (3, 2, 1)
    assert (joined.backward_sent, joined.backward_received) == (3, 2)
    assert (joined.forward_overflowed, joined.backward_overflowed) == (1, 0)
    assert joined.rtt_us == (20.0, 21)


@pytest.mark.parametrize(
    ("probe", "responder"),
    [
        ({"sent": None}, {}),
        ({"sent": -1}, {}),
        ({"sent": 2.0}, {}),
        ({"sent": True}, {}),
        ({"answers": 10**15}, {}),
        ({"rtt_us": "20"}, {}),
        ({"rtt_us": [20.0, "x"]}, {}),
        ({"rtt_us": [20.0, float("nan")]}, {}),
        ({"rtt_us": [20.0, -1.0]}, {}),
        ({"rtt_us": [20.0]}, {}),
        ({"answers": 1}, {}),
        ({"answers": 4}, {}),
        ({}, {"received": 4}),
        ({}, {"answered": "3"}),
    ],
)
def test_an_account_that_cannot_be_is_refused_by_link(probe, responder):
    with pytest.raises(ProvisionError, match=r"^edge -> cloud: .*; bring the hosts up to date"):
        read_probe({**PROBE, **probe}, {**RESPONDER, **responder}, "edge -> cloud")


@pytest.mark.parametrize(
    ("source", "sink"),
    [
        ({"mss_bytes": 0}, {}),
        ({"timestamps": 1}, {}),
        ({"ip_version": 5}, {}),
        ({"congestion": 3}, {}),
        ({"congestion": "x" * 101}, {}),
        ({}, {"window_us": 0}),
        ({}, {"windows": [1, -2]}),
        ({}, {"windows": None}),
    ],
)
def test_an_account_of_a_stream_that_cannot_be_is_refused(source, sink):
    assert read_stream(SOURCE, SINK, "edge -> cloud").windows == (1, 2, 3)
    with pytest.raises(ProvisionError, match=r"^edge -> cloud: "):
        read_stream({**SOURCE, **source}, {**SINK, **sink}, "edge -> cloud")


def test_a_session_needs_port_and_token():
    assert read_session({"port": 5, "token": "ab"}, "edge").port == 5
    for wrong in ({}, {"port": "5", "token": "ab"}, {"port": 5, "token": 7}):
        with pytest.raises(ProvisionError, match=r"^edge: "):
            read_session(wrong, "edge")
