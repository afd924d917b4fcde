"""The plan of a host's TCP settings: from a wish and what the kernel holds to what is written, and back."""

from __future__ import annotations

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.network import tcp
from slicebed_agent.host.wish import TcpWish, parse_wish

FOUND = {
    "tcp_slow_start_after_idle": "1",
    "tcp_rmem": "4096 131072 6291456",
    "tcp_wmem": "4096 16384 4194304",
    "tcp_congestion_control": "cubic",
    "tcp_allowed_congestion_control": "reno cubic",
}


def after(found, settings):
    return {**found, **{setting.name: setting.text for setting in settings}}


def shown(settings):
    return [str(setting.change("network")) for setting in settings]


def test_a_host_of_which_nothing_is_wished_is_left_alone():
    assert tcp.plan(None, FOUND) == ()
    assert tcp.plan(None, {}) == ()


def test_the_window_lasts_through_pauses_and_the_buffers_hold_what_the_link_holds():
    settings = tcp.plan(TcpWish(receive_bytes=8_000_000, send_bytes=5_000_000), FOUND)
    assert shown(settings) == [
        "tcp: net.ipv4.tcp_slow_start_after_idle 1 -> 0",
        "tcp: net.ipv4.tcp_rmem 4096 131072 6291456 -> 4096 131072 8000000",
        "tcp: net.ipv4.tcp_wmem 4096 16384 4194304 -> 4096 16384 5000000",
    ]
    assert tcp.plan(TcpWish(8_000_000, 5_000_000), after(FOUND, settings)) == ()


def test_buffers_are_never_lowered():
    (only,) = tcp.plan(TcpWish(receive_bytes=1, send_bytes=1), FOUND)
    assert only.name == "tcp_slow_start_after_idle"


@pytest.mark.parametrize(("allowed", "taken"), [("reno bbr", "reno"), ("reno bbr cubic", "cubic")])
def test_an_algorithm_that_empties_its_window_to_probe_gives_way(allowed, taken):
    found = {**FOUND, "tcp_congestion_control": "bbr", "tcp_allowed_congestion_control": allowed}
    assert shown(tcp.plan(TcpWish(), found))[1:] == [f"tcp: net.ipv4.tcp_congestion_control bbr -> {taken}"]


def test_where_nothing_else_is_allowed_the_error_says_how_to_allow_it():
    found = {**FOUND, "tcp_congestion_control": "bbr", "tcp_allowed_congestion_control": "bbr"}
    with pytest.raises(HostError, match=r"add one to net\.ipv4\.tcp_allowed_congestion_control"):
        tcp.plan(TcpWish(), found)


def test_a_setting_that_the_kernel_lacks_is_named():
    found = {name: text for name, text in FOUND.items() if name != "tcp_wmem"}
    with pytest.raises(HostError, match=r"has no net\.ipv4\.tcp_wmem"):
        tcp.plan(TcpWish(), found)


def test_what_was_saved_comes_back_exactly_and_only_that():
    wish = TcpWish(receive_bytes=8_000_000)
    saved = {"eth0": {"root": None}, **tcp.save([*tcp.names(wish), "eth0"], FOUND)}
    changed = after(FOUND, tcp.plan(wish, FOUND))
    assert after(changed, tcp.plan_restore(saved, changed)) == FOUND
    assert tcp.plan_restore(saved, FOUND) == ()
    assert tcp.plan_restore({"eth0": {"root": None}}, changed) == ()


@pytest.mark.parametrize("damaged", [{"text": 1}, {}, None])
def test_a_damaged_record_is_named(damaged):
    with pytest.raises(HostError, match="is not as Slicebed writes it"):
        tcp.plan_restore({"sysctl tcp_rmem": damaged}, FOUND)


def test_the_wish_is_read_and_refused_by_its_keys():
    wish = parse_wish({"host": "a", "network": {"links": [], "tcp": {"receive_bytes": 5}}})
    assert wish.network.tcp == TcpWish(receive_bytes=5)
    assert parse_wish({"host": "a", "network": {"links": []}}).network.tcp is None
    for bad in ({"receive_bytes": -1}, {"send_bytes": True}, {"window": 3}, "streaming"):
        with pytest.raises(HostError, match=r"network\.tcp"):
            parse_wish({"host": "a", "network": {"tcp": bad}})
