"""Numbers, tables and words: what netem and HTB are given, and what a reader of a plan sees."""

from __future__ import annotations

import struct
from ipaddress import ip_address
from pathlib import Path
from statistics import fmean, pstdev

import pytest

from slicebed_agent.host.change import Change
from slicebed_agent.host.network import units
from slicebed_agent.host.network.changes import root_changes
from slicebed_agent.host.network.compile import Facts, compile_egress
from slicebed_agent.host.network.distributions import ENTRIES, SCALE, table
from slicebed_agent.host.network.netlink import attribute, attributes
from slicebed_agent.host.network.tree import Device, Foreign, KernelDefault
from slicebed_agent.host.wish import Distribution, LinkCondition

EDGE = ip_address("10.0.0.2")


def values(distribution):
    return struct.unpack(f"={ENTRIES}h", table(distribution))


@pytest.mark.parametrize("distribution", Distribution)
def test_the_jitter_is_the_standard_deviation_whatever_the_distribution(distribution):
    assert fmean(values(distribution)) == pytest.approx(0, abs=0.5)
    assert pstdev(values(distribution)) == pytest.approx(SCALE, rel=1e-4)


def test_the_shapes_are_the_ones_named():
    assert max(values(Distribution.UNIFORM)) == pytest.approx(3**0.5 * SCALE, rel=0.001)
    assert values(Distribution.NORMAL)[ENTRIES // 2] == pytest.approx(0, abs=3)
    # Pareto: nothing far below the mean, a long tail above it.
    for distribution in (Distribution.PARETO, Distribution.PARETO_NORMAL):
        assert max(values(distribution)) == 32767
        assert values(distribution)[ENTRIES // 2] < 0
    assert min(values(Distribution.PARETO)) > -SCALE


def test_the_normal_table_is_the_one_of_iproute2():
    files = list(Path("/usr/lib").glob("**/tc/normal.dist"))
    if not files:
        pytest.skip("iproute2's tables are not on this machine")
    lines = [line for line in files[0].read_text().splitlines() if not line.startswith("#")]
    theirs = sorted(int(number) for line in lines for number in line.split())
    middle = slice(ENTRIES // 50, -ENTRIES // 50)
    assert values(Distribution.NORMAL)[middle] == pytest.approx(theirs[middle], abs=0.02 * SCALE)


@pytest.mark.parametrize(
    ("rate_bit_per_s", "ticks"),
    [(8, 2**32 - 1), (1_000_000, 200_000), (1_000_000_000, 156_250), (400_000_000_000, 156_250)],
)
def test_a_burst_is_ten_milliseconds_or_one_large_packet(rate_bit_per_s, ticks):
    assert units.burst_ticks(units.byte_rate(rate_bit_per_s)) == ticks


def test_the_room_in_netem_is_what_is_in_flight_and_the_queue():
    assert units.packets_in_flight(0, 0, None, 1500) == 0
    assert units.packets_in_flight(1, 0, 8, 1500) == 1
    assert units.packets_in_flight(100_000, 0, 121_120_000, 1500) == 1000
    assert units.netem_limit(1000, 5) == 1005
    assert units.queue_of_limit(2000, 1000) is None
    assert units.queue_of_limit(1005, 1000) == 5


def test_every_distribution_is_read_back_from_the_jitter():
    for distribution in Distribution:
        assert units.DISTRIBUTIONS[units.jitter_ns(5, distribution) % 1000] is distribution
        assert units.jitter_ns(0, distribution) == 0


def test_attributes_are_padded_and_read_back():
    packed = attribute(1, b"htb\0") + attribute(2 | 0x8000, b"x") + attribute(3, b"")
    assert len(packed) % 4 == 0
    assert attributes(packed) == {1: b"htb\0", 2: b"x", 3: b""}


def seen(found, wanted, facts=Facts("eth0"), carrier="eth0"):  # noqa: B008 - frozen
    device = Device("eth0", 2)
    trees = [
        each if each is None or not isinstance(each, dict) else compile_egress(each, None, facts, None)
        for each in (found, wanted)
    ]
    return root_changes(device, carrier, *trees, {EDGE.packed: "edge"})


def test_a_new_link_is_told_by_every_property_that_it_gets():
    condition = LinkCondition(delay_us=3840, jitter_us=100, distribution=Distribution.UNIFORM, loss=0.01)
    assert [str(change) for change in seen(KernelDefault(), {EDGE: condition})] == [
        "eth0: root_qdisc kernel default -> htb 5b1d:",
        "link edge (eth0, 10.0.0.2): delay_us 0 -> 3840",
        "link edge (eth0, 10.0.0.2): jitter_us 0 -> 100",
        "link edge (eth0, 10.0.0.2): distribution - -> uniform",
        "link edge (eth0, 10.0.0.2): loss 0.0 -> 0.01",
    ]


def test_a_link_that_changes_is_told_by_what_differs_and_one_that_goes_by_what_it_had():
    now = {EDGE: LinkCondition(delay_us=5, rate_bit_per_s=8_000_000)}
    then = {EDGE: LinkCondition(delay_us=5, rate_bit_per_s=16_000_000, queue_packets=7)}
    where = "link edge (eth0, 10.0.0.2)"
    assert seen(now, then) == [
        Change("network", where, "rate_bit_per_s", 8_000_000, 16_000_000),
        Change("network", where, "queue_packets", None, 7),
    ]
    assert seen(now, KernelDefault())[1:] == [
        Change("network", where, "delay_us", 5, None),
        Change("network", where, "rate_bit_per_s", 8_000_000, None),
    ]


def test_an_inbound_link_says_so_with_its_device():
    facts = Facts("eth0", of_source=True)
    assert [str(change) for change in seen(None, {EDGE: LinkCondition(delay_us=5)}, facts, "sbi-2")] == [
        "eth0: inbound_device - -> sbi-2",
        "sbi-2: root_qdisc - -> htb 5b1d:",
        "link edge (eth0, 10.0.0.2) inbound: delay_us 0 -> 5",
    ]


def test_somebody_elses_root_is_told():
    foreign = Foreign("tbf", 0x90000, ())
    assert str(seen(foreign, {EDGE: LinkCondition(delay_us=5)})[0]) == "eth0: root_qdisc tbf 9: -> htb 5b1d:"
