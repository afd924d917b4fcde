"""One device's links to its tree: state and wish, and the steps between them."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from slicebed_agent.errors import HostError
from slicebed_agent.host.network.compile import Facts, compile_egress
from slicebed_agent.host.network.difference import root_difference
from slicebed_agent.host.network.hashing import LARGEST_BUCKET
from slicebed_agent.host.network.steps import Step, U32Link, U32Table, Verb
from slicebed_agent.host.network.tree import (
    INNER_CLASS,
    ROOT_HANDLE,
    UNLIMITED_BYTE_PER_S,
    Fifo,
    HashKey,
    KernelDefault,
    Netem,
)
from slicebed_agent.host.wish import Distribution, LinkCondition

A, B, C = (ip_address(f"10.0.0.{n}") for n in (1, 2, 3))
SIX = ip_address("fd00::1")
MEGABIT = 1_000_000
OLD = Facts("eth0", has_netem=False, netem_refusal="ENOENT No such file", has_flower=False)
STOCK = Facts("eth0")


def rate(bit_per_s, **more):
    return LinkCondition(rate_bit_per_s=bit_per_s, **more)


def lines(found, wanted):
    return [str(Step(verb, "eth0", thing)).removesuffix(" on eth0") for verb, thing in root_difference(found, wanted)]


def test_from_nothing_on_a_kernel_without_netem_and_flower():
    tree = compile_egress({B: rate(MEGABIT), A: rate(MEGABIT, queue_packets=9), SIX: rate(8)}, None, OLD, None)
    assert lines(KernelDefault(), tree) == [
        "add root htb 5b1d:",
        "add htb class 5b1d:1",
        "add htb class 5b1d:10",
        "add htb class 5b1d:11",
        "add htb class 5b1d:12",
        "add pfifo leaf 5b2d: under 5b1d:10",
        "add u32 hash table at 5b1d: prio 1 (IPv4)",
        "add u32 filter to 10.0.0.1 at 5b1d: prio 1 (IPv4)",
        "add u32 filter to 10.0.0.2 at 5b1d: prio 1 (IPv4)",
        "add u32 hash key at 5b1d: prio 1 (IPv4)",
        "add u32 hash table at 5b1d: prio 2 (IPv6)",
        "add u32 filter to fd00::1 at 5b1d: prio 2 (IPv6)",
        "add u32 hash key at 5b1d: prio 2 (IPv6)",
    ]
    assert tree.leaves[ROOT_HANDLE | 0x10].leaf == Fifo(9)
    assert tree.classes[ROOT_HANDLE | 0x12].ceil == 1


def test_from_nothing_on_a_stock_kernel_netem_holds_everything():
    condition = LinkCondition(
        delay_us=21_000,
        jitter_us=500,
        distribution=Distribution.PARETO,
        loss=0.5,
        reorder=1.0,
        rate_bit_per_s=50 * MEGABIT,
    )
    tree = compile_egress({A: condition}, None, STOCK, None)
    assert lines(KernelDefault(), tree) == [
        "add root htb 5b1d:",
        "add htb class 5b1d:1",
        "add htb class 5b1d:10",
        "add netem leaf 5b2d: under 5b1d:10",
        "add flower filter to 10.0.0.1 at 5b1d: prio 1 (IPv4)",
    ]
    assert tree.classes[ROOT_HANDLE | 0x10].ceil == UNLIMITED_BYTE_PER_S
    assert tree.leaves[ROOT_HANDLE | 0x10].leaf == Netem(
        latency_ns=21_000_000,
        jitter_ns=500_002,
        # 50 Mbit/s for 23 ms are 94.98 frames of 1514 bytes.
        limit_packets=95 + 1000,
        loss=round(0.5 * (2**32 - 1)),
        reorder=2**32 - 1,
        gap=1,
        rate=6_250_000,
    )


def test_peers_that_are_there_keep_their_class_and_new_ones_take_free_ones():
    first = compile_egress({A: rate(MEGABIT), C: rate(MEGABIT)}, None, OLD, None)
    second = compile_egress({B: rate(MEGABIT), C: rate(MEGABIT)}, None, OLD, first)
    assert lines(first, second) == [
        "add htb class 5b1d:12",
        "add u32 filter to 10.0.0.2 at 5b1d: prio 1 (IPv4)",
        "delete u32 filter to 10.0.0.1 at 5b1d: prio 1 (IPv4)",
        "delete htb class 5b1d:10",
    ]
    third = compile_egress({A: rate(MEGABIT), B: rate(MEGABIT), C: rate(MEGABIT)}, None, OLD, second)
    assert lines(second, third)[0] == "add htb class 5b1d:10"


@pytest.mark.parametrize(
    ("now", "then", "steps"),
    [
        (rate(MEGABIT), rate(2 * MEGABIT), ["change htb class 5b1d:10"]),
        (rate(MEGABIT), rate(MEGABIT, queue_packets=3), ["add pfifo leaf 5b2d: under 5b1d:10"]),
        (rate(8, queue_packets=2), rate(8, queue_packets=3), ["change pfifo leaf 5b2d: under 5b1d:10"]),
        (rate(8, queue_packets=2), rate(8), ["delete pfifo leaf 5b2d: under 5b1d:10"]),
        (rate(8), rate(15), []),
        (rate(8), LinkCondition(), ["delete root htb 5b1d:"]),
    ],
)
def test_one_link_changes(now, then, steps):
    found = compile_egress({A: now}, None, OLD, None)
    assert lines(found, compile_egress({A: then}, None, OLD, found)) == steps


def test_under_a_shared_cap_every_peer_borrows_also_one_without_a_condition():
    tree = compile_egress({A: rate(90 * MEGABIT), B: LinkCondition()}, 50 * MEGABIT, OLD, None)
    ceil = 50 * MEGABIT // 8
    assert {handle & 0xFFFF: (each.rate, each.ceil) for handle, each in tree.classes.items()} == {
        1: (ceil, ceil),
        0x10: (1, ceil),
        0x11: (1, ceil),
    }
    lifted = compile_egress({A: rate(90 * MEGABIT), B: rate(MEGABIT)}, None, OLD, tree)
    assert {verb for verb, _ in root_difference(tree, lifted)} == {Verb.CHANGE}
    assert lifted.classes[INNER_CLASS].ceil == UNLIMITED_BYTE_PER_S


def test_a_bucket_that_overflows_moves_to_another_octet_beside_the_first():
    crowd = [ip_address(0x0A000005 + (n << 8)) for n in range(LARGEST_BUCKET + 1)]
    first = compile_egress(dict.fromkeys([A, B, crowd[0]], rate(MEGABIT)), None, OLD, None)
    assert first.groups[1].key == HashKey(16, 0)
    some = compile_egress(dict.fromkeys(crowd[:LARGEST_BUCKET], rate(MEGABIT)), None, OLD, first)
    assert some.groups[1].key == HashKey(16, 0)
    every = compile_egress(dict.fromkeys(crowd, rate(MEGABIT)), None, OLD, some)
    assert every.groups[3].key == HashKey(16, 8)
    order = [(verb, type(thing)) for verb, thing in root_difference(some, every)]
    assert order[-2:] == [(Verb.DELETE, U32Link), (Verb.DELETE, U32Table)]
    assert order[-3] == (Verb.ADD, U32Link)


def test_what_the_kernel_cannot_do_is_refused_by_name():
    with pytest.raises(HostError, match=r"link to 10.0.0.1 on eth0: .* sch_netem.*ENOENT No such file.*modprobe"):
        compile_egress({A: LinkCondition(loss=0.1)}, None, OLD, None)
    with pytest.raises(HostError, match=r"jitter of 3000000 us .* allowed: 0 to 2147483 us"):
        compile_egress({A: LinkCondition(delay_us=4_000_000, jitter_us=3_000_000)}, None, STOCK, None)
    newer = Facts("eth0", duplicate_refusal="EINVAL Invalid argument")
    alone = {A: LinkCondition(duplicate=0.1)}
    assert compile_egress(alone, None, newer, None)
    with pytest.raises(HostError, match=r"link to 10.0.0.1 on eth0: duplication beside other links"):
        compile_egress({**alone, B: rate(8)}, None, newer, None)
