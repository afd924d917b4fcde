"""The measuring verbs over the loopback interface: real sockets, real stamps."""

from __future__ import annotations

import socket
import threading

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.measure import HANDLERS
from slicebed_agent.host.measure.packet import PACKET_BYTES, Packet, pack
from slicebed_agent.host.measure.responder import Responder
from slicebed_agent.host.measure.service import MeasureService
from slicebed_agent.host.measure.stream import Sink

LOOPBACK = ("127.0.0.1", "::1")
PROBE = {"count": 30, "interval_us": 500, "timeout_us": 2_000_000, "pace": "one_in_flight", "give_up_after": 5}


def probe_request(session, address="127.0.0.1", **changed):
    return {"source": address, "destination": address, **session, **PROBE, **changed}


def responder(verbs, address="127.0.0.1"):
    return verbs["start_responder"]({"address": address, "lifetime_s": 60})


@pytest.mark.parametrize("address", LOOPBACK)
@pytest.mark.parametrize("pace", ["one_in_flight", "train"])
def test_every_probe_of_a_perfect_link_gives_a_sample_and_both_ends_count_alike(address, pace):
    session = responder(HANDLERS, address)
    seen = HANDLERS["run_probe"](probe_request(session, address, pace=pace, timeout_us=200_000))
    counts = HANDLERS["stop_responder"]({"token": session["token"]})
    assert counts == {
        "received": 30, "duplicates": 0, "overtakings": 0, "answered": 30, "refused": 0, "overflowed": 0,
    }  # fmt: skip
    assert (seen["sent"], seen["answers"], seen["duplicates"], seen["overtakings"]) == (30, 30, 0, 0)
    assert len(seen["rtt_us"]) == len(seen["sent_us"]) == len(seen["forward_us"]) == 30
    assert all(rtt_us >= 0 for rtt_us in seen["rtt_us"])
    assert seen["sent_us"] == sorted(seen["sent_us"])


def test_a_responder_answers_nobody_without_its_token():
    open_one = Responder("127.0.0.1", 60)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as stranger:
        stranger.settimeout(0.3)
        where = ("127.0.0.1", open_one.port)
        right = pack(open_one.token, Packet(0))
        for data in (b"", b"x" * PACKET_BYTES, right[:-1], right + b"x", pack(open_one.token, Packet(0, answer=1))):
            stranger.sendto(data, where)
        with pytest.raises(TimeoutError):
            stranger.recv(2048)
        stranger.sendto(right, where)
        assert len(stranger.recv(2048)) == PACKET_BYTES
    counts = open_one.stop()
    assert (counts.received, counts.answered, counts.refused) == (1, 1, 5)


def test_copies_of_a_probe_are_answered_and_counted_apart():
    open_one = Responder("127.0.0.1", 60)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as twice:
        for sequence in (1, 1, 0):
            twice.sendto(pack(open_one.token, Packet(sequence)), ("127.0.0.1", open_one.port))
        counts = open_one.stop()
    assert (counts.received, counts.duplicates, counts.overtakings, counts.answered) == (2, 1, 1, 3)


def test_a_closed_port_is_an_error_that_says_where():
    session = responder(HANDLERS)
    HANDLERS["stop_responder"]({"token": session["token"]})
    with pytest.raises(HostError, match=r"127\.0\.0\.1 -> 127\.0\.0\.1 port \d+: probes cannot be sent: .*refused"):
        HANDLERS["run_probe"](probe_request(session))


def test_a_peer_that_never_answers_ends_the_probe_early():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        session = {"port": silent.getsockname()[1], "token": "00" * 16}
        seen = HANDLERS["run_probe"](probe_request(session, timeout_us=5_000))
    assert (seen["sent"], seen["answers"], seen["rtt_us"]) == (5, 0, [])


def test_answers_of_a_forger_give_no_sample():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as forger:
        forger.bind(("127.0.0.1", 0))
        forger.settimeout(30)
        token = bytes(16)

        def answer():
            for reply in (b"", b"\0" * PACKET_BYTES, pack(token, Packet(40, 1)), pack(token, Packet(0, 0))):
                _, where = forger.recvfrom(2048)
                forger.sendto(reply, where)
            # A turnaround longer than the whole round trip.
            _, where = forger.recvfrom(2048)
            forger.sendto(pack(token, Packet(4, 2, 1, 10**15)), where)

        thread = threading.Thread(target=answer)
        thread.start()
        session = {"port": forger.getsockname()[1], "token": token.hex()}
        seen = HANDLERS["run_probe"](probe_request(session, timeout_us=20_000))
        thread.join()
    assert seen["rtt_us"] == []


@pytest.mark.parametrize(("address", "ip_version"), [("127.0.0.1", 4), ("::1", 6)])
def test_a_stream_is_counted_in_windows_and_says_what_its_segments_carried(address, ip_version):
    session = HANDLERS["start_sink"]({"address": address, "lifetime_s": 60})
    report = HANDLERS["run_source"](
        {"source": address, "destination": address, **session, "seconds": 0.5, "streams": 3, "congestion": ["reno"]}
    )
    counts = HANDLERS["finish_sink"]({"token": session["token"]})
    assert report["congestion"] == "reno"
    assert (report["ip_version"], report["timestamps"], report["streams"]) == (ip_version, True, 3)
    assert 500 < report["mss_bytes"] < 65_536
    assert counts["window_us"] == 100_000
    assert counts["refused"] == 0
    assert 3 <= len(counts["windows"]) <= 10
    assert sum(counts["windows"]) > 1_000_000


def test_a_stream_without_the_token_is_closed_and_counted_and_the_right_one_still_taken():
    sink = Sink("127.0.0.1", 60)
    for wrong in (b"x" * 16, b"short"):
        with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as stranger:
            stranger.sendall(wrong)
            stranger.shutdown(socket.SHUT_WR)
            assert stranger.recv(1) == b""
    with socket.create_connection(("127.0.0.1", sink.port), timeout=10) as right:
        right.sendall(sink.token)
    assert sink.finish(10).refused == 2


def test_unknown_and_used_tokens_are_refused():
    session = responder(HANDLERS)
    with pytest.raises(HostError, match="no sink of this token"):
        HANDLERS["finish_sink"]({"token": session["token"]})
    HANDLERS["stop_responder"]({"token": session["token"]})
    with pytest.raises(HostError, match="no responder of this token"):
        HANDLERS["stop_responder"]({"token": session["token"]})


def test_an_address_of_another_host_is_refused():
    with pytest.raises(HostError, match=r"192\.0\.2\.1: cannot be bound.*own address"):
        responder(HANDLERS, "192.0.2.1")


def test_no_more_than_a_fixed_number_is_open_and_ended_ones_make_room(monkeypatch):
    monkeypatch.setattr("slicebed_agent.host.measure.service.MAX_OPEN", 2)
    verbs = MeasureService().handlers()
    verbs["start_responder"]({"address": "127.0.0.1", "lifetime_s": 0.01})
    second = responder(verbs)
    for thread in threading.enumerate():
        if thread.name.startswith("responder") and thread is not threading.current_thread():
            thread.join(0.5)
    third = responder(verbs)
    with pytest.raises(HostError, match="2 measurements are open"):
        responder(verbs)
    for session in (second, third):
        verbs["stop_responder"]({"token": session["token"]})


@pytest.mark.parametrize(
    ("verb", "request_", "says"),
    [
        ("start_responder", [], "list is not allowed"),
        ("start_responder", {"address": "localhost", "lifetime_s": 1}, "start_responder.address: localhost"),
        ("start_responder", {"address": 5, "lifetime_s": 1}, "start_responder.address"),
        ("start_responder", {"address": "::1"}, "start_responder.lifetime_s: nothing"),
        ("start_responder", {"address": "::1", "lifetime_s": 0}, "above 0 to 3600"),
        ("start_responder", {"address": "::1", "lifetime_s": True}, "above 0 to 3600"),
        ("start_sink", {"address": "::1", "lifetime_s": 1, "port": 1}, "start_sink.port: unknown key"),
        ("stop_responder", {"token": "zz"}, "32 hexadecimal digits"),
        ("stop_responder", {"token": "00"}, "32 hexadecimal digits"),
        ("run_probe", {"count": 0}, "run_probe.count: 0 is not allowed"),
        ("run_probe", {"count": "3"}, "run_probe.count: 3 is not allowed"),
        ("run_probe", {"count": 10**9}, "run_probe.count"),
        ("run_probe", {"interval_us": 1}, "run_probe.interval_us"),
        ("run_probe", {"pace": "flood"}, "one_in_flight, train"),
        ("run_probe", {"port": 0}, "run_probe.port"),
        ("run_source", {"seconds": 10_000}, "run_source.seconds"),
        ("run_source", {"streams": 65}, "run_source.streams"),
        ("run_source", {"congestion": ["x; reboot"]}, "cubic, reno, bbr"),
        ("run_source", {"congestion": "bbr"}, "run_source.congestion"),
        ("run_source", {"congestion": []}, "run_source.congestion"),
    ],
)
def test_a_wrong_request_is_refused_by_the_field(verb, request_, says):
    way = {"source": "127.0.0.1", "destination": "127.0.0.1", "port": 9, "token": "00" * 16}
    full = {
        "run_probe": {**way, **PROBE},
        "run_source": {**way, "seconds": 1, "streams": 1, "congestion": ["cubic"]},
    }.get(verb)
    with pytest.raises(HostError) as caught:
        HANDLERS[verb](request_ if full is None else {**full, **request_})
    assert says in str(caught.value)
    assert "allowed" in str(caught.value)


def test_both_ends_must_be_of_one_ip_version():
    with pytest.raises(HostError, match="not of one IP version"):
        HANDLERS["run_probe"](probe_request({"port": 9, "token": "00" * 16}, destination="::1"))
