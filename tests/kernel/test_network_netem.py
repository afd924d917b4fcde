"""Links where the kernel has netem and flower: what is sent is what it holds, what tc tells and what ping measures."""

from __future__ import annotations

import itertools
import json
import re
import time
from dataclasses import replace
from ipaddress import ip_address

import pytest
from own_namespace import ADDRESSES, NEAR, own_namespace, run, told
from packet_stream import arrived

from slicebed_agent.errors import HostError
from slicebed_agent.host.network.kernel import kernel_features
from slicebed_agent.host.network.part import Network
from slicebed_agent.host.wish import Distribution, LinkCondition, LinkWish, NetworkWish, ShapeAt

pytestmark = pytest.mark.kernel
PEER = {version: ip_address(ends[1]) for version, ends in ADDRESSES.items()}
FULL = LinkCondition(
    delay_us=42_460,
    jitter_us=1_234,
    distribution=Distribution.PARETO_NORMAL,
    loss=0.01,
    loss_correlation=0.25,
    reorder=0.05,
    reorder_correlation=0.5,
    rate_bit_per_s=48_000_000_000,
    queue_packets=77,
)


@pytest.fixture
def far(monkeypatch):
    monkeypatch.delenv("SSH_CONNECTION", raising=False)
    with own_namespace() as far:
        before = told()
        network = Network()
        saved = network.save(NetworkWish())
        saved[NEAR] = {"root": None}
        yield far
        network.apply(network.plan_restore(saved))
        assert told() == before


def applied(*links, **wish):
    """Apply, and look that nothing is left to do."""
    network = Network()
    wanted = NetworkWish(links, **wish)
    plan = network.plan(wanted)
    network.apply(plan)
    again = network.plan(wanted)
    assert (again.changes, again.steps) == ((), ())
    return plan


def to(condition, version=4, at=ShapeAt.SENDER):
    return LinkWish("edge", PEER[version], condition, at=at)


def pinged(count, *arguments):
    """The least round trip and the standard deviation in ms, and the share that came back.

    The least, because an emulated processor that others keep busy makes many answers late and none early.
    """
    out = run("ping", "-q", "-c", str(count), "-i", "0.02", "-W", "2", *arguments)
    least, deviation = re.search(r"= ([\d.]+)/[\d.]+/[\d.]+/([\d.]+)", out).groups()
    return float(least), float(deviation), int(re.search(r"(\d+) received", out)[1]) / count


def test_every_feature_of_a_stock_kernel_is_found():
    refusals = dict(kernel_features(fresh=True).refusals)
    # Newer kernels, stable ones among them, forbid a netem that duplicates beside another.
    refusals.pop("netem_duplicate_many")
    assert not any(refusals.values()), refusals


def test_the_kernel_holds_and_tells_what_was_asked(far):
    applied(to(LinkCondition(delay_us=1)), to(FULL, 6))
    leaves = {each.get("parent"): each for each in json.loads(run("tc", "-j", "qdisc", "show", "dev", NEAR))}
    netem = leaves["5b1d:11"]["options"]
    # tc itself rounds down, sometimes by one tick of the kernel's.
    assert netem["delay"]["delay"] == pytest.approx(0.042460, abs=1.1e-6)
    assert netem["delay"]["jitter"] == pytest.approx(0.001234, abs=1.1e-6)
    assert netem["loss-random"] == {"loss": pytest.approx(0.01), "correlation": pytest.approx(0.25)}
    assert netem["reorder"] == {"reorder": pytest.approx(0.05), "correlation": pytest.approx(0.5)}
    assert netem["gap"] == 1
    assert netem["rate"]["rate"] == 6_000_000_000
    in_flight = 48e9 * (0.04246 + 4 * 0.001234) / 8 / 1514
    assert netem["limit"] == pytest.approx(in_flight + 77, abs=1)
    filters = json.loads(run("tc", "-j", "filter", "show", "dev", NEAR))
    keys = [(each["options"]["classid"], each["options"]["keys"]) for each in filters if "options" in each]
    assert [(class_id, key["dst_ip"]) for class_id, key in keys] == [
        ("5b1d:10", PEER[4].compressed),
        ("5b1d:11", PEER[6].compressed),
    ]


def test_one_after_the_other_every_condition_replaces_the_last(far):
    conditions = [
        LinkCondition(delay_us=5_000),
        FULL,
        LinkCondition(delay_us=20_000, jitter_us=5_000, distribution=Distribution.UNIFORM),
        LinkCondition(delay_us=20_000, jitter_us=5_000, distribution=Distribution.PARETO),
        LinkCondition(rate_bit_per_s=8),
        LinkCondition(loss=1.0),
        LinkCondition(duplicate=0.5),
        LinkCondition(delay_us=600_000_000, jitter_us=2_147_483),
        LinkCondition(delay_us=1, jitter_us=1),
    ]
    applied(to(FULL))
    for condition in conditions:
        plan = applied(to(condition))
        assert [step.verb.value for step in plan.steps] == ["change"], condition


def test_what_somebody_else_edited_is_seen_and_repaired(far):
    wish = to(LinkCondition(delay_us=5_000))
    applied(wish)
    edits = (
        ("qdisc", "change", "dev", NEAR, "parent", "5b1d:10", "handle", "5b2d:", "netem", "delay", "9ms"),
        (
            "qdisc",
            "change",
            "dev",
            NEAR,
            "parent",
            "5b1d:10",
            "handle",
            "5b2d:",
            "netem",
            "delay",
            "5ms",
            "corrupt",
            "1%",
        ),
        ("qdisc", "replace", "dev", NEAR, "parent", "5b1d:10", "handle", "77:", "pfifo"),
        ("filter", "del", "dev", NEAR, "parent", "5b1d:", "prio", "1"),
        (
            "filter",
            "add",
            "dev",
            NEAR,
            "parent",
            "5b1d:",
            "prio",
            "9",
            "protocol",
            "all",
            "matchall",
            "flowid",
            "5b1d:10",
        ),
        ("qdisc", "replace", "dev", NEAR, "root", "fq_codel"),
        ("class", "change", "dev", NEAR, "parent", "5b1d:1", "classid", "5b1d:10", "htb", "rate", "1mbit"),
    )
    for edit in edits:
        run("tc", *edit)
        assert Network().plan(NetworkWish((wish,))).changes, edit
        assert applied(wish).steps


def test_ping_meets_delay_and_jitter(far):
    base, _, _ = pinged(30, ADDRESSES[4][1])
    applied(to(LinkCondition(delay_us=21_000)), to(LinkCondition(delay_us=60_000), 6))
    assert pinged(50, ADDRESSES[4][1])[0] - base == pytest.approx(21, abs=1)
    assert pinged(20, ADDRESSES[6][1])[0] - base == pytest.approx(60, abs=2)
    applied(to(LinkCondition(delay_us=41_000, jitter_us=10_000, distribution=Distribution.UNIFORM)))
    least, deviation, came = pinged(200, ADDRESSES[4][1])
    assert came == 1
    # A uniform delay reaches down to the mean less the square root of 3 deviations.
    assert least - base == pytest.approx(41 - 17.3, abs=2.5)
    assert deviation > 7


def test_loss_is_met_and_the_delay_changes_in_place(far):
    applied(to(LinkCondition(delay_us=1_000, loss=0.3)))
    assert pinged(200, "-W", "1", ADDRESSES[4][1])[2] == pytest.approx(0.7, abs=0.12)
    applied(to(LinkCondition(delay_us=10_000)))
    assert pinged(20, ADDRESSES[4][1])[2] == 1


def test_no_packet_is_lost_while_a_delay_changes(far, capsys):
    delays_us = itertools.count(20_000, 100)

    def change():
        applied(to(LinkCondition(delay_us=next(delays_us))))
        time.sleep(0.05)

    change()
    assert pinged(2, ADDRESSES[4][1])[2] == 1
    assert arrived(10_000, ADDRESSES[4][1], change, receiver=far.enter) == 10_000
    with capsys.disabled():
        print(f"\n{(next(delays_us) - 20_000) // 100} changes of delay under 5,000 packets/s, 0 lost")  # noqa: T201


def test_the_receiver_can_hold_packets_back(far):
    base, _, _ = pinged(30, ADDRESSES[4][1])
    applied(
        to(LinkCondition(delay_us=30_000), at=ShapeAt.RECEIVER), to(LinkCondition(delay_us=9_000), 6, ShapeAt.RECEIVER)
    )
    assert pinged(30, ADDRESSES[4][1])[0] - base == pytest.approx(30, abs=1.5)
    applied()
    assert "ifb" not in run("ip", "-d", "link")


def test_many_peers_on_one_interface(far):
    links = [
        LinkWish(f"p{i}", ip_address("10.77.1.0") + i, LinkCondition(delay_us=1_000 + i, jitter_us=i))
        for i in range(400)
    ]
    applied(*links)
    changed = replace(links[7], condition=LinkCondition(delay_us=3))
    assert len(applied(*links[:7], changed, *links[8:]).steps) == 1


def test_duplication_beside_other_links_is_planned_or_refused(far):
    links = (to(LinkCondition(duplicate=0.5)), to(LinkCondition(delay_us=10), 6))
    if kernel_features().can("netem_duplicate_many"):
        applied(*links)
    else:
        with pytest.raises(HostError, match="duplication beside other links"):
            Network().plan(NetworkWish(links))


def test_a_foreign_netem_with_jitter_is_refused_and_others_come_back(far):
    wish = to(LinkCondition(delay_us=5_000))
    run("tc", "qdisc", "add", "dev", NEAR, "root", "handle", "7:", "netem", "delay", "3ms", "1ms")
    with pytest.raises(HostError, match=r"cannot be put back exactly.*tc qdisc del dev near root"):
        Network().plan(NetworkWish((wish,)))
    run("tc", "qdisc", "del", "dev", NEAR, "root")
    for foreign in (("netem", "delay", "3ms", "loss", "2%"), ("fq_codel", "limit", "99"), ("prio",)):
        run("tc", "qdisc", "add", "dev", NEAR, "root", "handle", "7:", *foreign)
        before = told()
        network = Network()
        saved = network.save(NetworkWish((wish,)))
        applied(wish)
        network.apply(network.plan_restore(saved))
        assert told() == before, foreign
        run("tc", "qdisc", "del", "dev", NEAR, "root")
