"""Look at the lab: which hosts answer, and what is set on the wires."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from slicebed.errors import ProvisionError
from slicebed.lab import paths, processes
from slicebed.lab.host import answers_ssh
from slicebed.lab.layout import WireKind
from slicebed.lab.state import Phase, read_state
from slicebed.lab.tools import run
from slicebed.lab.wires import ask_wire
from slicebed_agent.host.wish import MAX_RATE_BIT_PER_S

if TYPE_CHECKING:
    from slicebed.lab._wire import WireSetting
    from slicebed.lab.layout import HostPlan, LabPlan, LinkEnd, LinkPlan


_CEILING = re.compile(r"\bceil (\d+)([KMGT]?)bit\b")
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}


class Health(Enum):
    """How the lab as a whole is."""

    DOWN = "down"
    UP = "up"
    BROKEN = "broken"
    """Some of it is there, but not all: ``up`` or ``down`` cleans it away."""


@dataclass(frozen=True)
class HostStatus:
    """One host: ``up`` when its sshd answers; ``processes`` counts those in its network namespace."""

    plan: HostPlan
    up: bool
    processes: int


@dataclass(frozen=True)
class DirectionStatus:
    """What packets of one direction meet; the rate is the sending host's own (HTB) on every kind of wire."""

    delay_us: int = 0
    jitter_us: int = 0
    loss: float = 0.0
    rate_bit_per_s: int | None = None


@dataclass(frozen=True)
class LinkStatus:
    """One link; the settings are None when the wire does not answer, and the cause is ``problem``."""

    plan: LinkPlan
    forward: DirectionStatus | None
    backward: DirectionStatus | None
    problem: str | None


@dataclass(frozen=True)
class LabStatus:
    """The whole lab; ``plan`` is None when there is none."""

    health: Health
    plan: LabPlan | None = None
    inventory: str | None = None
    hosts: tuple[HostStatus, ...] = ()
    links: tuple[LinkStatus, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """Stable fields, described in inventory/lab/README.md."""
        return {
            "state": self.health.value,
            "lab": self.plan.name if self.plan else None,
            "wire": self.plan.wire.value if self.plan else None,
            "inventory": self.inventory,
            "hosts": [_host_json(host) for host in self.hosts],
            "links": [_link_json(link, self.plan.wire) for link in self.links] if self.plan else [],
        }


def status() -> LabStatus:
    """Look at the lab of this machine; changes nothing and takes no lock."""
    state = read_state()
    if state is None:
        return LabStatus(Health.DOWN)
    plan = state.plan
    with ThreadPoolExecutor(max_workers=16) as pool:
        hosts = tuple(pool.map(_host_status, plan.hosts))
        links = tuple(pool.map(lambda link: _link_status(plan, link), plan.links))
    whole = state.phase is Phase.UP and all(host.up for host in hosts) and all(link.problem is None for link in links)
    return LabStatus(Health.UP if whole else Health.BROKEN, plan, str(state.inventory), hosts, links)


def answering_hosts(plan: LabPlan) -> list[str]:
    """The hosts whose sshd answers."""
    return [host.name for host in plan.hosts if _host_status(host).up]


def is_whole(plan: LabPlan) -> bool:
    """Whether every host and every wire answers."""
    return len(answering_hosts(plan)) == len(plan.hosts) and all(
        _link_status(plan, link).problem is None for link in plan.links
    )


def _host_status(host: HostPlan) -> HostStatus:
    inode = processes.namespace_inode(paths.NETNS_DIR / host.namespace)
    count = 0 if inode is None else len(processes.in_namespace(inode))
    return HostStatus(host, up=count > 0 and answers_ssh(host), processes=count)


def _link_status(plan: LabPlan, link: LinkPlan) -> LinkStatus:
    try:
        forward, backward = (shaped_by_host(*_interface_rows(plan, end)) for end in link.ends)
        if plan.wire is WireKind.TAP:
            reading = ask_wire(link.index)
            forward, backward = _on_wire(reading.forward, forward), _on_wire(reading.backward, backward)
    except ProvisionError as error:
        return LinkStatus(link, None, None, str(error))
    return LinkStatus(link, forward, backward, None)


def _interface_rows(plan: LabPlan, end: LinkEnd) -> tuple[list[dict[str, Any]], str]:
    """The qdiscs and classes of one end of a link; raises ProvisionError when the interface is gone."""
    tc = ["tc", "-n", plan.host(end.host).namespace]
    qdiscs = json.loads(run([*tc, "-json", "qdisc", "show", "dev", end.interface]) or "[]")
    # As text: with -json, tc prints the classes of HTB as text all the same (iproute2 6.1, Debian 12's).
    return qdiscs, run([*tc, "class", "show", "dev", end.interface])


def shaped_by_host(qdiscs: list[dict[str, Any]], classes: str) -> DirectionStatus:
    """What a host does on a link's interface.

    Args:
        qdiscs: from ``tc -json``, whose delays are in seconds and rates in bytes/s.
        classes: from ``tc``; their rates are rounded down, to whole Kbit at least, as ``89900Kbit``.
    """
    netem: dict[str, Any] = next((row["options"] for row in qdiscs if row.get("kind") == "netem"), {})
    delay = netem.get("delay", {})
    rates = [int(number) * _UNITS[unit] for number, unit in _CEILING.findall(classes)]
    if "rate" in netem:
        rates.append(netem["rate"]["rate"] * 8)
    # A class that only holds a delay has a rate that nobody can ask for.
    limits = [rate for rate in rates if rate <= MAX_RATE_BIT_PER_S]
    return DirectionStatus(
        delay_us=round(delay.get("delay", 0) * 1_000_000),
        jitter_us=round(delay.get("jitter", 0) * 1_000_000),
        loss=netem.get("loss-random", {}).get("loss", 0.0),
        rate_bit_per_s=min(limits, default=None),
    )


def _on_wire(setting: WireSetting, host: DirectionStatus) -> DirectionStatus:
    return DirectionStatus(setting.delay_us, setting.jitter_us, setting.loss, host.rate_bit_per_s)


def _host_json(host: HostStatus) -> dict[str, Any]:
    return {
        "name": host.plan.name,
        "role": host.plan.role,
        "tier": host.plan.tier,
        "up": host.up,
        "address": str(host.plan.management.ip),
        "processes": host.processes,
    }


def _link_json(link: LinkStatus, wire: WireKind) -> dict[str, Any]:
    return {
        "between": list(link.plan.between),
        "wire": wire.value,
        "interfaces": [end.interface for end in link.plan.ends],
        "addresses": [str(end.address.ip) for end in link.plan.ends],
        "forward": None if link.forward is None else asdict(link.forward),
        "backward": None if link.backward is None else asdict(link.backward),
        "problem": link.problem,
    }
