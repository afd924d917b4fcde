"""One direction of a wire: what it does to packets, with the clock and the chance given."""

from __future__ import annotations

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.errors import SpecError
from slicebed.lab._wire import DISTRIBUTIONS, Channel, WireSetting
from slicebed.lab.wires import wire_setting
from slicebed_agent.host.wish import Distribution

ICMP = bytes(12) + b"\x08\x00" + bytes(9) + b"\x01" + bytes(40)
TCP = bytes(12) + b"\x08\x00" + bytes(9) + b"\x06" + bytes(40)
ARP = bytes(12) + b"\x08\x06" + bytes(9) + b"\x06" + bytes(40)


def channel(**setting) -> Channel:
    return Channel(WireSetting(**setting), random.Random(7))


def delays_ms(wire: Channel, count: int, frame: bytes = ICMP, spacing_s: float = 1.0) -> list[float]:
    return [1000 * (when - n * spacing_s) for n in range(count) for when in wire.times(frame, n * spacing_s)]


def test_a_fresh_wire_holds_nothing_back():
    assert channel().times(TCP, 5.0) == (5.0,)


def test_a_delay_without_jitter_is_the_same_for_every_packet():
    assert delays_ms(channel(delay_us=2_500), 50) == pytest.approx([2.5] * 50)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_jitter_is_the_standard_deviation_of_every_distribution(distribution):
    found = delays_ms(channel(delay_us=50_000, jitter_us=5_000, distribution=distribution), 20_000)
    assert statistics.mean(found) == pytest.approx(50, rel=0.01)
    assert statistics.stdev(found) == pytest.approx(5, rel=0.03)


def test_every_distribution_of_a_testbed_file_is_known():
    assert {each.value for each in Distribution} == set(DISTRIBUTIONS)


def test_no_packet_leaves_before_it_came():
    assert min(delays_ms(channel(delay_us=1_000, jitter_us=1_000), 5_000)) >= 0


@given(st.lists(st.floats(0, 0.01), min_size=2, max_size=50))
def test_a_connection_stays_in_order_whatever_the_jitter(gaps):
    wire = channel(delay_us=20_000, jitter_us=10_000)
    now, left = 0.0, []
    for gap in gaps:
        now += gap
        left += wire.times(TCP, now)
    assert left == sorted(left)


@pytest.mark.parametrize("frame", [ICMP, ARP])
def test_what_is_no_connection_draws_each_delay_by_itself(frame):
    wire = channel(delay_us=20_000, jitter_us=10_000)
    close = delays_ms(wire, 4_000, frame, spacing_s=0.0001)
    assert statistics.mean(close) == pytest.approx(20, rel=0.05)


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.9])
def test_loss_is_the_share_that_was_asked_whatever_its_correlation(correlation):
    wire = channel(loss=0.2, loss_correlation=correlation)
    lost = [not wire.times(ICMP, 0.0) for _ in range(60_000)]
    assert statistics.mean(lost) == pytest.approx(0.2, abs=0.015)
    assert statistics.correlation(lost[:-1], lost[1:]) == pytest.approx(correlation, abs=0.05)


def test_duplicates_and_overtaking_are_shares_of_the_packets():
    wire = channel(delay_us=10_000, duplicate=0.1)
    assert sum(len(wire.times(ICMP, 0.0)) for _ in range(20_000)) == pytest.approx(22_000, rel=0.01)
    wire = channel(delay_us=10_000, reorder=0.05)
    assert sum(wire.times(TCP, 1.0) == (1.0,) for _ in range(20_000)) == pytest.approx(1_000, rel=0.15)


def test_a_change_is_for_the_packets_to_come():
    wire = channel(delay_us=10_000)
    assert wire.times(TCP, 0.0) == (0.01,)
    wire.change(WireSetting(delay_us=1_000))
    assert wire.times(ICMP, 0.001) == (0.002,)
    assert wire.times(TCP, 0.001) == (0.01,), "a later packet of a connection does not overtake"


@pytest.mark.parametrize(
    "plain",
    [
        {"delay_us": -1},
        {"delay_us": 5, "jitter_us": 6},
        {"loss": 1.1},
        {"distribution": "flat"},
        {"rate_bit_per_s": 8},
    ],
)
def test_impossible_settings_are_refused(plain):
    with pytest.raises(SpecError, match="not a setting of a wire"):
        wire_setting(plain)


def test_a_setting_is_read_as_it_was_written():
    setting = WireSetting(1_000, 200, "uniform", 0.1, 0.2, 0.3, 0.4, 0.5)
    assert wire_setting(setting.to_plain()) == setting
