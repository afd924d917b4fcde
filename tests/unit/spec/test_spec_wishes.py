"""A testbed and an inventory, compiled into what hosts and wires are told."""

from __future__ import annotations

import json
from dataclasses import dataclass
from ipaddress import IPv6Address

import pytest

from slicebed.errors import SpecError
from slicebed.spec.testbed import load_testbed
from slicebed.spec.wishes import host_wishes, wire_wishes
from slicebed_agent.host.wish import CpuWish, LinkCondition, ShapeAt, TcpWish, WorkloadWish, parse_wish

TABLE_3 = """\
name: t
hosts:
  client: {role: client}
  edge: {role: edge}
  cloud: {role: cloud}
links:
  - {between: [client, edge], rtt: 7.68 ms, jitter: 2.49 ms, rate: 89.90 Mbit/s}
  - {between: [edge, cloud], one_way: 20 ms, loss: 1 %, reorder: 2 %, backward: {delay: 1 ms}}
  - {between: [client, cloud], rtt: 0 ms}
"""


@dataclass(frozen=True)
class End:
    peer: str
    peer_address: str
    wire: str = "netem"
    interface: str | None = None


@dataclass(frozen=True)
class Entry:
    links: tuple[End, ...]


def inventory(wire="netem", **extra):
    names = ["client", "edge", "cloud"]
    hosts = {
        name: Entry(
            tuple(End(peer, f"10.0.{i}.{j}", wire, f"to-{peer}") for j, peer in enumerate(names) if peer != name)
        )
        for i, name in enumerate(names)
    }
    return {**hosts, **extra}


@pytest.fixture
def testbed(tmp_path):
    def load(text=TABLE_3):
        path = tmp_path / "testbed.yml"
        path.write_text(text, encoding="utf-8")
        return load_testbed(path)

    return load


def parsed(wishes):
    return {name: parse_wish(json.loads(json.dumps(wish))) for name, wish in wishes.items()}


def test_the_sender_shapes_each_direction_that_has_a_condition(testbed):
    wishes = parsed(host_wishes(testbed(), inventory()))
    (to_edge,) = wishes["client"].network.links
    assert (to_edge.peer, str(to_edge.peer_address), to_edge.interface) == ("edge", "10.0.0.1", "to-edge")
    assert to_edge.at is ShapeAt.SENDER
    assert to_edge.condition == LinkCondition(3_840, 1_761, rate_bit_per_s=89_900_000)
    assert [link.peer for link in wishes["edge"].network.links] == ["client", "cloud"]
    (to_edge,) = wishes["cloud"].network.links
    assert to_edge.condition == LinkCondition(1_000, loss=0.01, reorder=0.02)
    assert wishes["client"].cpu is None
    assert wishes["client"].workload is None


def test_the_receiver_shapes_what_it_gets_from_its_peer(testbed):
    text = TABLE_3.replace("loss: 1 %", "loss: 1 %, shape_at: receiver")
    wishes = parsed(host_wishes(testbed(text), inventory()))
    (from_edge,) = wishes["cloud"].network.links
    assert (from_edge.peer, from_edge.at, str(from_edge.peer_address)) == ("edge", ShapeAt.RECEIVER, "10.0.2.1")
    assert from_edge.condition.delay_us == 20_000


def test_clock_and_workload_are_told_as_the_file_has_them(testbed):
    text = TABLE_3.replace(
        "client: {role: client}",
        "client: {role: client, cpu_frequency_min: 1 GHz, cpu_frequency_max: 2 GHz, governor: schedutil, boost: false, "
        "smt: true, online_cores: 2, cores: [1], memory: 1 GB, cpu_quota: 0.5, cpu_period: 10 ms, gpu: false, "
        "uplink_rate: 1 Gbit/s}",
    )
    client = parsed(host_wishes(testbed(text), inventory()))["client"]
    assert client.cpu == CpuWish(None, 1_000_000, 2_000_000, "schedutil", boost=False, smt=True, online_cores=2)
    assert client.workload == WorkloadWish((1,), 10**9, 0.5, gpu=False, cpu_period_us=10_000)
    assert client.network.uplink_bit_per_s == 10**9


def test_only_the_parts_that_are_named(testbed):
    wish = host_wishes(testbed(), inventory(), parts={"cpu"})["client"]
    assert wish == {"host": "client", "network": None, "cpu": None, "workload": None}


def test_the_control_path_stays_protected_unless_it_is_said(testbed):
    assert not parsed(host_wishes(testbed(), inventory()))["edge"].network.shape_control_path
    assert parsed(host_wishes(testbed(), inventory(), shape_control_path=True))["edge"].network.shape_control_path


def test_ipv6_addresses_come_from_the_inventory(testbed):
    client = Entry((End("edge", "fd00::2"), End("cloud", "fd00::3")))
    (link,) = parsed(host_wishes(testbed(), inventory(client=client)))["client"].network.links
    assert link.peer_address == IPv6Address("fd00::2")
    assert link.interface is None


def test_a_tap_wire_takes_all_but_rate_and_queue(testbed):
    text = TABLE_3.replace("89.90 Mbit/s", "89.90 Mbit/s, queue: 100 packets")
    hosts = inventory("tap")
    wishes = parsed(host_wishes(testbed(text), hosts))
    (to_edge,) = wishes["client"].network.links
    assert to_edge.condition == LinkCondition(rate_bit_per_s=89_900_000, queue_packets=100)
    assert wishes["cloud"].network.links == ()
    first, second, third = wire_wishes(testbed(text), hosts)
    assert (first["a"], first["b"]) == ("client", "edge")
    assert first["forward"] == first["backward"]
    assert (first["forward"]["delay_us"], first["forward"]["jitter_us"]) == (3_840, 1_761)
    assert "rate_bit_per_s" not in first["forward"]
    assert (second["forward"]["delay_us"], second["backward"]["delay_us"]) == (20_000, 1_000)
    assert second["backward"]["reorder"] == 0.02
    assert third["forward"]["delay_us"] == 0


def test_what_another_testbed_left_on_a_wire_that_this_one_does_not_link_goes(testbed):
    shorter = "\n".join(line for line in TABLE_3.splitlines() if "[client, cloud]" not in line) + "\n"
    wires = {(wire["a"], wire["b"]): wire for wire in wire_wishes(testbed(shorter), inventory("tap"))}
    assert set(wires) == {("client", "edge"), ("edge", "cloud"), ("client", "cloud")}
    assert not any(wires["client", "cloud"][way]["delay_us"] for way in ("forward", "backward"))
    assert wire_wishes(testbed(shorter), inventory()) == []


def test_netem_wires_are_set_in_the_hosts_alone(testbed):
    assert wire_wishes(testbed(), inventory()) == []


@pytest.mark.parametrize(
    ("keys", "forward_us", "backward_us"),
    [
        ("rtt: 10 ms", 4_850, 4_850),
        ("at_sender: 10 ms", 9_700, 0),
        ("one_way: 10 ms, backward: {delay: 50 us}", 9_750, 0),
    ],
)
def test_the_base_round_trip_is_subtracted(testbed, keys, forward_us, backward_us):
    text = TABLE_3.replace("rtt: 0 ms", f"{keys}, compensate: true")
    for base in ({("client", "cloud"): 300.2}, {("cloud", "client"): 300.2}):
        (wire,) = wire_wishes(testbed(text), inventory("tap"), base_rtt_us=base)[2:]
        assert (wire["forward"]["delay_us"], wire["backward"]["delay_us"]) == (forward_us, backward_us)
        wishes = parsed(host_wishes(testbed(text), inventory(), base_rtt_us=base))
        assert wishes["client"].network.links[-1].condition.delay_us == forward_us


@pytest.mark.parametrize(
    ("keys", "base", "says"),
    [
        ("rtt: 1 ms", {}, "was not measured before shaping"),
        ("rtt: 1 ms", {("client", "cloud"): 1_500.0}, "unshaped round trip 1.5 ms is longer than the 1 ms asked"),
        ("one_way: 1 ms, jitter: 1 ms", {("client", "cloud"): 400.0}, "jitter 1 ms is above the delay left, 800 us"),
    ],
)
def test_a_base_round_trip_that_cannot_be_subtracted(testbed, keys, base, says):
    text = TABLE_3.replace("rtt: 0 ms", f"{keys}, compensate: true")
    with pytest.raises(SpecError, match=r"testbed\.yml:9: compensate") as caught:
        host_wishes(testbed(text), inventory(), base_rtt_us=base)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("changed", "line", "says"),
    [
        ({"client": Entry((End("edge", "10.0.0.1"),))}, 9, "no link from client to cloud"),
        ({"client": Entry((End("edge", "1.1.1.1"), End("edge", "1.1.1.2"), End("cloud", "1.1.1.3")))}, 7, "2 times"),
        ({"cloud": Entry((End("edge", "1.1.1.1"), End("client", "1.1.1.3"), End("fog", "1.1.1.5")))}, 5, '"fog"'),
        ({"cloud": Entry((End("edge", "1.1.1.1", "tap"), End("client", "1.1.1.3")))}, 8, "is netem and tap"),
    ],
)
def test_an_inventory_that_does_not_fit_is_told_with_the_line_of_the_testbed(testbed, changed, line, says):
    with pytest.raises(SpecError) as caught:
        host_wishes(testbed(), inventory(**changed))
    (told,) = str(caught.value).splitlines()
    assert f"testbed.yml:{line}: " in told
    assert says in told


def test_every_misfit_is_told_at_once(testbed):
    hosts = inventory()
    del hosts["cloud"]
    with pytest.raises(SpecError) as caught:
        wire_wishes(testbed(), hosts)
    lines = str(caught.value).splitlines()
    assert 'testbed.yml:5: host "cloud" is not in the inventory; allowed: client, edge' in lines[-1]
    assert len(lines) == 3


def test_tcp_for_streams_has_buffers_for_the_largest_link(testbed):
    asked = testbed(TABLE_3 + "tcp: streaming\n")
    wishes = parsed(host_wishes(asked, inventory()))
    # Four times 89.90 Mbit/s x 7.68 ms; the link without a delay holds nothing.
    assert wishes["client"].network.tcp == TcpWish(*2 * [4 * (89_900_000 * 7_680 // 8_000_000)])
    # 21 ms on a link without a rate, which counts as 1 Gbit/s.
    assert wishes["cloud"].network.tcp == TcpWish(*2 * [4 * 2_625_000])


def test_the_uplink_of_a_sender_bounds_what_its_peers_receive(testbed):
    text = TABLE_3.replace("edge: {role: edge}", "edge: {role: edge, uplink_rate: 8 Mbit/s}") + "tcp: streaming\n"
    wishes = parsed(host_wishes(testbed(text), inventory()))
    assert wishes["cloud"].network.tcp == TcpWish(receive_bytes=4 * 21_000, send_bytes=4 * 2_625_000)
    assert wishes["edge"].network.tcp.send_bytes == 4 * 21_000


def test_without_it_nothing_is_asked_of_tcp(testbed):
    for text in (TABLE_3, TABLE_3 + "tcp: kernel\n"):
        assert {wish.network.tcp for wish in parsed(host_wishes(testbed(text), inventory())).values()} == {None}
    wishes = parsed(host_wishes(testbed(TABLE_3 + "tcp: streaming\n"), inventory(), parts={"cpu"}))
    assert wishes["client"].network is None


def test_no_more_is_asked_than_a_kernel_takes(testbed):
    hosts = "name: t\nhosts: {client: {role: a}, edge: {role: b}}\n"
    text = hosts + "tcp: streaming\nlinks: [{between: [client, edge], rtt: 120 s}]\n"
    assert parsed(host_wishes(testbed(text), inventory()))["edge"].network.tcp.receive_bytes == 1 << 30
