"""The conditions wanted of one host, as the control machine sends them: checked for type and range, then trusted."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, TypeVar

from slicebed_agent.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Mapping

Address = IPv4Address | IPv6Address
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_INTERFACE = re.compile(r"[^\s/:]{1,15}")
# The kernel refuses a quota below it in one period (min_cfs_quota_period in kernel/sched/core.c).
MIN_QUOTA_US = 1_000
MAX_PEERS = 20_000
MAX_DELAY_US = 600_000_000
MAX_RATE_BIT_PER_S = 400_000_000_000
# HTB takes no less than one byte a second.
MIN_RATE_BIT_PER_S = 8
MAX_BUFFER_BYTES = 1 << 30


class Distribution(Enum):
    """How the delay varies about its mean; the jitter is the standard deviation in every one of them."""

    NORMAL = "normal"
    UNIFORM = "uniform"
    PARETO = "pareto"
    PARETO_NORMAL = "paretonormal"


class ShapeAt(Enum):
    """Which end of a directed link holds the packets back."""

    SENDER = "sender"
    RECEIVER = "receiver"


@dataclass(frozen=True)
class LinkCondition:
    """What the packets of one directed link meet.

    Attributes:
        delay_us: one-way delay.
        jitter_us: standard deviation of the delay.
        distribution: shape of the delay's variation.
        loss: share of packets lost, 0 to 1.
        loss_correlation: how much a loss depends on the one before, 0 to 1.
        duplicate: share of packets sent twice, 0 to 1.
        reorder: share of packets that overtake (leave at once), 0 to 1; needs a delay.
        reorder_correlation: how much an overtaking depends on the one before, 0 to 1.
        rate_bit_per_s: rate counted on Ethernet frames without checksum; None is not limited.
        queue_packets: room for packets beyond those that the delay holds; None leaves it to the planner.
    """

    delay_us: int = 0
    jitter_us: int = 0
    distribution: Distribution = Distribution.NORMAL
    loss: float = 0.0
    loss_correlation: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_correlation: float = 0.0
    rate_bit_per_s: int | None = None
    queue_packets: int | None = None

    @property
    def is_unshaped(self) -> bool:
        """True when packets meet nothing at all."""
        return not (self.delay_us or self.loss or self.duplicate or self.rate_bit_per_s)


@dataclass(frozen=True)
class LinkWish:
    """The condition wanted on one directed link that this host shapes.

    Attributes:
        peer: name of the other end.
        peer_address: the other end's address on the link.
        interface: the interface that leads there; None lets the host's routes say.
        at: SENDER shapes what this host sends to the peer, RECEIVER what it gets from the peer.
    """

    peer: str
    peer_address: Address
    condition: LinkCondition
    interface: str | None = None
    at: ShapeAt = ShapeAt.SENDER


@dataclass(frozen=True)
class TcpWish:
    """TCP as streams of frames need it: a window that lasts through pauses, buffers that hold it.

    Attributes:
        receive_bytes: the most that a receive buffer must be able to grow to; the kernel's own is never lowered.
        send_bytes: likewise of a send buffer.
    """

    receive_bytes: int = 0
    send_bytes: int = 0


@dataclass(frozen=True)
class NetworkWish:
    """Every link that this host shapes; what is not for a named peer passes unshaped, SSH among it.

    Attributes:
        links: at most one per peer address and direction.
        uplink_bit_per_s: a cap that all the host's links share, per interface; None is no cap.
        shape_control_path: allow a link to the very address that the SSH connection comes from.
        tcp: None leaves the kernel's own settings.
    """

    links: tuple[LinkWish, ...] = ()
    uplink_bit_per_s: int | None = None
    shape_control_path: bool = False
    tcp: TcpWish | None = None


@dataclass(frozen=True)
class CpuWish:
    """Clock and cores of the whole machine; None leaves a property as it is. Frequencies in kHz.

    Attributes:
        frequency_khz: one fixed frequency (minimum and maximum alike); not together with the next two.
        min_khz: lowest frequency.
        max_khz: highest frequency.
        governor: the cpufreq governor.
        boost: turbo frequencies allowed or not.
        smt: simultaneous multithreading on or off.
        online_cores: processors left online, the first N.
    """

    frequency_khz: int | None = None
    min_khz: int | None = None
    max_khz: int | None = None
    governor: str | None = None
    boost: bool | None = None
    smt: bool | None = None
    online_cores: int | None = None


@dataclass(frozen=True)
class WorkloadWish:
    """Limits of the workload: of everything in the control group ``slicebed.HOST``, the agent's container among it.

    Attributes:
        cores: the processors it may use.
        memory_bytes: the memory it may use.
        cpu_quota: processor time per second of time, such as 1.5; for machines without cpufreq.
        cpu_period_us: over what time the quota is counted; None is the kernel's own 100 ms. Within a period a process
            runs until its part is used up and then stands still, so a short one makes a smoother slow processor.
        gpu: whether its containers see the GPU; None leaves that to the container engine.
    """

    cores: tuple[int, ...] | None = None
    memory_bytes: int | None = None
    cpu_quota: float | None = None
    gpu: bool | None = None
    cpu_period_us: int | None = None


@dataclass(frozen=True)
class HostWish:
    """Everything wanted of one host; a part that is None is left alone."""

    host: str
    network: NetworkWish | None = None
    cpu: CpuWish | None = None
    workload: WorkloadWish | None = None

    def parts(self) -> dict[str, NetworkWish | CpuWish | WorkloadWish]:
        """The parts that are wished, by name."""
        named = {"cpu": self.cpu, "workload": self.workload, "network": self.network}
        return {name: part for name, part in named.items() if part is not None}


def parse_wish(plain: object) -> HostWish:
    """Read a host's wish from JSON.

    Raises:
        HostError: a key, type or range that is not allowed; it says which.
    """
    top = _mapping(plain, "wish", HostWish)
    name = top.get("host")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise _refused("host", name, "a host name")
    network = top.get("network")
    return HostWish(
        host=name,
        network=None if network is None else _network(network),
        cpu=_optional(top.get("cpu"), "cpu", CpuWish),
        workload=_optional(top.get("workload"), "workload", WorkloadWish),
    )


def _network(plain: object) -> NetworkWish:
    top = _mapping(plain, "network", NetworkWish)
    links = top.get("links", [])
    if not isinstance(links, list) or len(links) > MAX_PEERS:
        raise _refused("network.links", type(links).__name__, f"a list of at most {MAX_PEERS}")
    return NetworkWish(
        links=tuple(_link(link, f"network.links[{i}]") for i, link in enumerate(links)),
        uplink_bit_per_s=_rate(top.get("uplink_bit_per_s"), "network.uplink_bit_per_s"),
        shape_control_path=_flag(top.get("shape_control_path", False), "network.shape_control_path"),
        tcp=_tcp(top.get("tcp")),
    )


def _tcp(plain: object) -> TcpWish | None:
    if plain is None:
        return None
    top = _mapping(plain, "network.tcp", TcpWish)
    return TcpWish(**{name: _whole(value, f"network.tcp.{name}", 0, MAX_BUFFER_BYTES) for name, value in top.items()})


def _link(plain: object, where: str) -> LinkWish:
    top = _mapping(plain, where, LinkWish)
    peer, interface = top.get("peer"), top.get("interface")
    if not isinstance(peer, str) or not _NAME.fullmatch(peer):
        raise _refused(f"{where}.peer", peer, "a host name")
    if interface is not None and not (isinstance(interface, str) and _INTERFACE.fullmatch(interface)):
        raise _refused(f"{where}.interface", interface, "an interface name")
    try:
        address = ip_address(top["peer_address"])
        at = ShapeAt(top.get("at", "sender"))
    except (KeyError, ValueError) as error:
        raise HostError(
            f"not understood: {error}", where=where, mend="allowed: an IP address, sender or receiver"
        ) from error
    return LinkWish(peer, address, _condition(top.get("condition", {}), f"{where}.condition"), interface, at)


def _condition(plain: object, where: str) -> LinkCondition:
    top = dict(_mapping(plain, where, LinkCondition))
    for name in ("delay_us", "jitter_us"):
        _whole(top.get(name, 0), f"{where}.{name}", 0, MAX_DELAY_US)
    for name in ("loss", "loss_correlation", "duplicate", "reorder", "reorder_correlation"):
        _share(top.get(name, 0.0), f"{where}.{name}")
    _rate(top.get("rate_bit_per_s"), f"{where}.rate_bit_per_s")
    if top.get("queue_packets") is not None:
        _whole(top["queue_packets"], f"{where}.queue_packets", 1, 10_000_000)
    try:
        top["distribution"] = Distribution(top.get("distribution", "normal"))
    except ValueError as error:
        allowed = ", ".join(each.value for each in Distribution)
        raise _refused(f"{where}.distribution", top["distribution"], allowed) from error
    condition = LinkCondition(**top)
    if condition.jitter_us > condition.delay_us:
        raise _refused(f"{where}.jitter_us", condition.jitter_us, f"0 to the delay, {condition.delay_us}")
    if condition.reorder and not condition.delay_us:
        raise _refused(
            f"{where}.reorder", condition.reorder, "0 without a delay: nothing is held that could be overtaken"
        )
    return condition


Simple = TypeVar("Simple", CpuWish, WorkloadWish)
_RANGES: dict[str, tuple[float, float]] = {
    "frequency_khz": (1, 100_000_000),
    "min_khz": (1, 100_000_000),
    "max_khz": (1, 100_000_000),
    "online_cores": (1, 65_536),
    "memory_bytes": (1, 1 << 60),
    "cpu_quota": (0.01, 65_536),
    "cpu_period_us": (10_000, 1_000_000),
}


def _optional(plain: object, where: str, kind: type[Simple]) -> Simple | None:
    if plain is None:
        return None
    values = {name: value for name, value in _mapping(plain, where, kind).items() if value is not None}
    for name, value in values.items():
        place = f"{where}.{name}"
        if name in _RANGES:
            low, high = _RANGES[name]
            numeric = (int, float) if name == "cpu_quota" else int
            if isinstance(value, bool) or not isinstance(value, numeric) or not low <= value <= high:
                raise _refused(place, value, f"{low:g} to {high:g}")
        elif name == "governor":
            if not isinstance(value, str) or not _NAME.fullmatch(value):
                raise _refused(place, value, "a governor's name")
        elif name == "cores":
            if not isinstance(value, (list, tuple)) or not value:
                raise _refused(place, value, "a list of processor numbers")
            values[name] = tuple(_whole(core, place, 0, 65_535) for core in value)
        else:
            _flag(value, place)
    return kind(**values)


def _mapping(plain: object, where: str, kind: type[Any]) -> Mapping[str, Any]:
    if not isinstance(plain, dict):
        raise _refused(where, type(plain).__name__, "a mapping")
    allowed = [field.name for field in fields(kind)]
    for key in plain:
        if key not in allowed:
            raise _refused(f"{where}.{key}", "unknown key", ", ".join(allowed))
    return plain


def _whole(value: object, where: str, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _refused(where, value, f"a whole number, {low} to {high}")
    return value


def _share(value: object, where: str) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= 1:
        raise _refused(where, value, "0 to 1")


def _rate(value: object, where: str) -> int | None:
    return None if value is None else _whole(value, where, MIN_RATE_BIT_PER_S, MAX_RATE_BIT_PER_S)


def _flag(value: object, where: str) -> bool:
    if not isinstance(value, bool):
        raise _refused(where, value, "true or false")
    return value


def _refused(where: str, value: object, allowed: str) -> HostError:
    return HostError(f"{str(value)[:60]} is not allowed", where=where, mend=f"allowed: {allowed}")
