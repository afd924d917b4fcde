"""What stops a lab before it makes anything."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest

from slicebed.errors import MissingRequirementError
from slicebed.lab import checks
from slicebed.lab.checks import UsedRange, find_conflict, require_programs

WANTED = [IPv4Network("10.199.0.0/24"), IPv4Network("10.198.0.0/16")]


def used(network: str, interface: str = "eth0", kind: str = "route") -> UsedRange:
    return UsedRange(IPv4Network(network), interface, kind)


@pytest.mark.parametrize("network", ["10.199.0.7/32", "10.199.0.0/24", "10.0.0.0/8", "10.198.255.0/24"])
def test_an_overlap_names_the_range_and_the_interface(network):
    conflict = find_conflict(WANTED, [used("192.0.2.0/24"), used(network, "wg0")])
    assert conflict is not None
    assert network in str(conflict)
    assert "wg0" in str(conflict)
    assert conflict.exit_code == 4


def test_a_default_route_and_strangers_are_no_conflict():
    assert find_conflict(WANTED, [used("0.0.0.0/0"), used("10.197.0.0/16"), used("127.0.0.0/8", "lo")]) is None


def test_the_ranges_of_this_machine_are_read():
    loopback = [item for item in checks.used_ranges() if item.interface == "lo" and item.kind == "address"]
    assert [str(item.network) for item in loopback] == ["127.0.0.0/8"]


def test_missing_programs_are_named_with_their_packages():
    with pytest.raises(
        MissingRequirementError, match=r"missing: no-such-a, no-such-b; run apt-get install pkg-a pkg-b"
    ):
        require_programs({"ls": "coreutils", "no-such-a": "pkg-a", "no-such-b": "pkg-b"})


def test_not_being_root_is_told(monkeypatch):
    monkeypatch.setattr(checks.os, "geteuid", lambda: 1000)
    with pytest.raises(MissingRequirementError, match="needs root"):
        checks.require_root()
