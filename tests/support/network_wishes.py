"""Wishes of links in the tests' own namespace, applied and restored by the network part."""

from __future__ import annotations

from ipaddress import ip_address

from own_namespace import NEAR

from slicebed_agent.host.network.part import Network
from slicebed_agent.host.wish import LinkCondition, LinkWish, ShapeAt

MEGABIT = 1_000_000
SHARED = "10.77.0.0"


def rate(bit_per_s, queue_packets=None):
    return LinkCondition(rate_bit_per_s=bit_per_s, queue_packets=queue_packets)


def link(number, condition, *, version=4, at=ShapeAt.SENDER):
    """A peer somewhere in the network of the pair."""
    base = ip_address(SHARED) if version == 4 else ip_address("fd77::")
    return LinkWish(f"p{number}", base + number, condition, NEAR, at)


def apply(wish):
    """Apply, and look that nothing is left to do."""
    network = Network()
    plan = network.plan(wish)
    network.apply(plan)
    again = network.plan(wish)
    assert (again.changes, again.steps) == ((), ())
    return plan


def restore(saved):
    network = Network()
    network.apply(network.plan_restore(saved))
    assert not network.plan_restore(saved).steps
