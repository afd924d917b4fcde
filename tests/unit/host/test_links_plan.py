"""The planner of link conditions: what is sent to the kernel for a wish, given what the kernel holds."""

from __future__ import annotations

from ipaddress import IPv4Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed_agent.errors import HostError
from slicebed_agent.host.links import Action, Condition, InterfaceState, Wish, plan, plan_absent

EDGE, CLOUD = IPv4Address("10.0.0.2"), IPv4Address("10.0.0.3")
EMPTY = InterfaceState("noqueue", ours=False)
CONDITIONS = st.builds(
    Condition,
    delay_us=st.integers(0, 2_000_000),
    jitter_us=st.just(0),
    rate_bit_per_s=st.none() | st.integers(8_000, 10**9).map(lambda rate: rate // 8 * 8),
)
PEERS = st.dictionaries(st.integers(1, 2**32 - 2).map(IPv4Address), CONDITIONS, max_size=6)


def wishes(peers, interface="eth0"):
    return [Wish(interface, address, condition) for address, condition in peers.items()]


class SimulatedKernel:
    """Takes steps as the kernel would: refuses a class without a root, a leaf without a class, a second root."""

    def __init__(self):
        self.root = False
        self.classes, self.leaves, self.filters = {}, {}, {}

    def take(self, steps):
        for step in steps:
            match step.action:
                case Action.ADD_ROOT:
                    assert not self.root
                    self.root = True
                case Action.DELETE_ROOT:
                    assert self.root
                    self.__init__()
                case Action.ADD_CLASS:
                    assert self.root
                    assert step.minor not in self.classes
                    self.classes[step.minor] = step.condition.rate_bit_per_s
                case Action.CHANGE_CLASS:
                    assert step.minor in self.classes
                    self.classes[step.minor] = step.condition.rate_bit_per_s
                case Action.ADD_LEAF:
                    assert step.minor in self.classes
                    assert step.minor not in self.leaves
                    self.leaves[step.minor] = (step.condition.delay_us, step.condition.jitter_us)
                case Action.CHANGE_LEAF:
                    assert step.minor in self.leaves
                    self.leaves[step.minor] = (step.condition.delay_us, step.condition.jitter_us)
                case Action.DELETE_LEAF:
                    del self.leaves[step.minor]
                case Action.ADD_FILTER:
                    assert step.minor in self.classes
                    self.filters[step.minor] = step.peer_address

    def state(self):
        if not self.root:
            return {"eth0": EMPTY}
        peers = {m: (self.filters[m], Condition(*self.leaves.get(m, (0, 0)), rate)) for m, rate in self.classes.items()}
        return {"eth0": InterfaceState("htb", ours=True, peers=peers)}

    def held(self):
        return dict(self.state()["eth0"].peers.values())


def conditioned(peers):
    return {address: condition for address, condition in peers.items() if condition != Condition()}


@given(PEERS, PEERS)
def test_any_testbed_after_any_other_is_held_and_then_nothing_is_left_to_do(before, after):
    kernel = SimulatedKernel()
    kernel.take(plan(wishes(before), kernel.state()))
    assert kernel.held() == conditioned(before)
    kernel.take(plan(wishes(after), kernel.state()))
    if after:  # a wish for nothing names no interface, so it leaves what is there
        assert kernel.held() == conditioned(after)
        assert plan(wishes(after), kernel.state()) == ()
    kernel.take(plan_absent(kernel.state()))
    assert kernel.state() == {"eth0": EMPTY}


def test_a_changed_delay_is_one_change_in_place_and_touches_no_other_peer():
    kernel = SimulatedKernel()
    peers = {EDGE: Condition(5_000), CLOUD: Condition(252_500)}
    kernel.take(plan(wishes(peers), kernel.state()))
    steps = plan(wishes({**peers, CLOUD: Condition(1_002_500)}), kernel.state())
    assert [(step.action, step.peer_address) for step in steps] == [(Action.CHANGE_LEAF, CLOUD)]


def test_the_order_of_the_wishes_does_not_matter():
    peers = {CLOUD: Condition(1_000), EDGE: Condition(2_000)}
    assert plan(wishes(peers), {"eth0": EMPTY}) == plan(wishes(peers)[::-1], {"eth0": EMPTY})


def test_somebody_elses_queueing_discipline_is_refused_with_the_command_that_removes_it():
    with pytest.raises(HostError, match=r"eth0: carries a queueing discipline 'tbf'.*tc qdisc del dev eth0 root"):
        plan(wishes({EDGE: Condition(1)}), {"eth0": InterfaceState("tbf", ours=False)})


def test_two_conditions_for_one_peer_are_refused():
    with pytest.raises(HostError, match=r"two conditions for 10\.0\.0\.2"):
        plan([*wishes({EDGE: Condition(1)}), *wishes({EDGE: Condition(2)})], {"eth0": EMPTY})


def test_peers_without_a_condition_leave_the_interface_alone():
    assert plan(wishes({EDGE: Condition()}), {"eth0": InterfaceState("tbf", ours=False)}) == ()


def test_a_missing_interface_is_named():
    with pytest.raises(HostError, match="eth0: no such interface"):
        plan(wishes({EDGE: Condition(1)}), {})


def test_netem_can_hold_what_is_on_its_way():
    # 100 Mbit/s over 1 s of delay: 12.5 MB in flight are 8,257 full frames, eight times netem's default limit.
    assert Condition(1_000_000, 0, 100_000_000).limit_packets > 12_500_000 / 1514
    assert Condition(1_000, 0, 1_000_000).limit_packets == 1000
