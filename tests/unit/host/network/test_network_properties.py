"""Any table of links, over any other: it comes out as wanted, disturbs nobody else, and goes again without a trace."""

from __future__ import annotations

from ipaddress import ip_address

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulated_tc import Refused, SimulatedKernel

from slicebed_agent.host.network.arrange import arrange
from slicebed_agent.host.network.demand import demands
from slicebed_agent.host.network.difference import difference
from slicebed_agent.host.network.kernel import KernelFeatures
from slicebed_agent.host.network.steps import HtbClass, LeafQdisc, PeerFilter
from slicebed_agent.host.network.tree import Wanted, ifb_name, is_our_ifb
from slicebed_agent.host.wish import Distribution, LinkCondition, LinkWish, NetworkWish, ShapeAt

INTERFACES = ("eth0", "eth1")
# Few addresses, so that tables overlap; some share every octet but one.
ADDRESSES = [ip_address(text) for text in ("10.0.0.1", "10.0.0.2", "10.0.1.1", "10.1.0.1", "10.0.0.9")]
ADDRESSES += [ip_address(text) for text in ("fd00::1", "fd00::2", "fd00:1::1", "fd00::100:1")]
MEGABIT = 1_000_000

rates = st.one_of(st.none(), st.integers(8, 400_000 * MEGABIT))
queues = st.one_of(st.none(), st.integers(1, 5000))
shares = st.sampled_from([0.0, 0.001, 0.25, 1.0])
rate_conditions = st.builds(LinkCondition, rate_bit_per_s=rates, queue_packets=queues)
full_conditions = st.builds(
    LinkCondition,
    delay_us=st.integers(100, 600_000_000),
    jitter_us=st.integers(0, 100),
    distribution=st.sampled_from(Distribution),
    loss=shares,
    duplicate=shares,
    reorder=shares,
    rate_bit_per_s=rates,
    queue_packets=queues,
)


@st.composite
def wishes(draw, has_netem):
    conditions = st.one_of(rate_conditions, full_conditions) if has_netem else rate_conditions
    places = st.tuples(st.sampled_from(ADDRESSES), st.sampled_from(INTERFACES), st.sampled_from(ShapeAt))
    table = draw(st.dictionaries(places, conditions, max_size=8))
    # One address has one interface.
    table = {(address, at): (interface, condition) for (address, interface, at), condition in table.items()}
    links = tuple(
        LinkWish(f"p{ADDRESSES.index(address)}", address, condition, interface, at)
        for (address, at), (interface, condition) in table.items()
    )
    return NetworkWish(links, uplink_bit_per_s=draw(st.one_of(st.none(), st.integers(8, MEGABIT))))


@st.composite
def stories(draw):
    """A kernel and two wishes, one after the other."""
    has_netem, has_flower = draw(st.booleans()), draw(st.booleans())
    return has_netem, has_flower, draw(wishes(has_netem)), draw(wishes(has_netem))


def features(has_netem, has_flower):
    refusals = dict.fromkeys(("htb", "pfifo", "ingress", "u32", "mirred", "ifb", "netem_duplicate_many"), "")
    refusals |= {"netem": "" if has_netem else "ENOENT", "flower": "" if has_flower else "ENOENT"}
    return KernelFeatures(refusals)


def planned(kernel, wish, able):
    interfaces = {name: device for name, device in kernel.devices.items() if not is_our_ifb(device)}
    taken = {link.peer_address: link.interface for link in wish.links if link.at is ShapeAt.SENDER}

    def route(address):
        return interfaces[taken.get(address, INTERFACES[0])].index, False

    links = demands(wish, interfaces, route, frozenset())
    found = kernel.found()
    return links, difference(found, arrange(links, wish.uplink_bit_per_s, able, found))


def brought(kernel, wish, able):
    links, steps = planned(kernel, wish, able)
    for step in steps:
        kernel.do(step)
    return links


def met(kernel, links):
    """What a packet to (or from) every peer meets: its class's numbers and its leaf."""
    told = {}
    for name, demand in links.items():
        for address in demand.peers:
            tree = kernel.roots.get(name)
            handle = None
            if hasattr(tree, "classes"):
                handle = kernel.class_of(name, address.packed, of_source=demand.of_source)
            if demand.of_source and kernel.redirected(demand.interface.name, address.packed) != name:
                handle = None
            if handle is None:
                told[name, address] = None
                continue
            leaf = tree.leaves.get(handle)
            told[name, address] = (tree.classes[handle], leaf)
    return told


@given(stories())
@settings(deadline=None)
def test_what_was_wanted_is_there_and_asking_again_does_nothing(story):
    has_netem, has_flower, first, second = story
    able = features(has_netem, has_flower)
    kernel = SimulatedKernel(INTERFACES, has_netem=has_netem)
    for wish in (first, second):
        links = brought(kernel, wish, able)
        assert planned(kernel, wish, able)[1] == ()
        for (name, address), meeting in met(kernel, links).items():
            condition = links[name].peers[address]
            assert (meeting is None) == (
                condition.is_unshaped and (links[name].of_source or wish.uplink_bit_per_s is None)
            )
            if meeting is not None and has_netem and condition.delay_us:
                assert meeting[1].leaf.latency_ns == condition.delay_us * 1000


@given(stories())
@settings(deadline=None)
def test_a_peer_that_did_not_change_is_never_touched(story):
    has_netem, has_flower, first, second = story
    able = features(has_netem, has_flower)
    kernel = SimulatedKernel(INTERFACES, has_netem=has_netem)
    second = NetworkWish(second.links, first.uplink_bit_per_s)
    links = brought(kernel, first, able)
    before = met(kernel, links)
    then, steps = planned(kernel, second, able)
    stay = {
        (name, address)
        for name, address in before
        if name in then and then[name].peers.get(address) == links[name].peers[address] and before[name, address]
    }
    touched = {(step.device, step.thing.handle) for step in steps if isinstance(step.thing, HtbClass)}
    touched |= {(step.device, step.thing.parent) for step in steps if isinstance(step.thing, LeafQdisc)}
    filtered = {ip_address(step.thing.filter.address) for step in steps if isinstance(step.thing, PeerFilter)}
    for name, address in stay:
        assert (name, before[name, address][0].handle) not in touched
    assert not {address for _, address in stay} & filtered - {
        # The same address may change in its other direction.
        address
        for name, address in (set(before) | set(met(kernel, then))) - stay
    }
    for step in steps:
        kernel.do(step)
        now = met(kernel, links)
        assert all(now[each] == before[each] for each in stay), step


@given(stories(), st.integers(0, 60))
@settings(deadline=None)
def test_killed_anywhere_the_next_apply_or_restore_makes_it_whole(story, moment):
    has_netem, has_flower, first, second = story
    able = features(has_netem, has_flower)
    kernel = SimulatedKernel(INTERFACES, has_netem=has_netem)
    original = kernel.found()
    brought(kernel, first, able)
    for step in planned(kernel, second, able)[1][:moment]:
        kernel.do(step)
    brought(kernel, second, able)
    assert planned(kernel, second, able)[1] == ()
    for step in planned(kernel, first, able)[1][:moment]:
        kernel.do(step)
    wanted = {name: None if is_our_ifb(each.device) else Wanted() for name, each in kernel.found().items()}
    for step in difference(kernel.found(), wanted):
        kernel.do(step)
    assert kernel.found() == original


@given(stories(), st.data())
@settings(deadline=None)
def test_undoing_half_of_an_apply_gives_what_was_before(story, data):
    has_netem, has_flower, first, second = story
    able = features(has_netem, has_flower)
    kernel = SimulatedKernel(INTERFACES, has_netem=has_netem)
    brought(kernel, first, able)
    before = kernel.found()
    steps = planned(kernel, second, able)[1]
    for step in steps[: data.draw(st.integers(0, len(steps)))]:
        kernel.do(step)
    now = kernel.found()
    back = {name: None if name not in before else Wanted(before[name].root, before[name].ingress) for name in now}
    back |= {name: Wanted(each.root, each.ingress) for name, each in before.items()}
    for step in difference(now, back):
        kernel.do(step)
    after = kernel.found()
    assert {name: (each.root, each.ingress) for name, each in after.items()} == {
        name: (each.root, each.ingress) for name, each in before.items()
    }


def test_the_simulated_kernel_refuses_what_the_real_one_does():
    kernel = SimulatedKernel(INTERFACES)
    wish = NetworkWish((LinkWish("p", ADDRESSES[0], LinkCondition(rate_bit_per_s=MEGABIT), "eth0"),))
    steps = planned(kernel, wish, features(has_netem=True, has_flower=True))[1]
    with pytest.raises(Refused, match="no root"):
        kernel.do(steps[1])
    kernel.do(steps[0])
    with pytest.raises(Refused, match="EEXIST"):
        kernel.do(steps[0])
    assert ifb_name(2) == "sbi-2"


@given(stories())
@settings(deadline=None)
def test_an_empty_wish_leaves_nothing_of_ours(story):
    has_netem, has_flower, first, _ = story
    able = features(has_netem, has_flower)
    kernel = SimulatedKernel(INTERFACES, has_netem=has_netem)
    original = kernel.found()
    brought(kernel, first, able)
    brought(kernel, NetworkWish(), able)
    assert kernel.found() == original
