"""testbed.yml: hosts in the order of their tiers, the links between them, and the embedded lab's networks."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Network, NetmaskValueError
from pathlib import Path  # noqa: TC003 - the dataclass carries it at run time
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, PlainValidator

from slicebed.spec.document import read_document
from slicebed.spec.problems import Problem, SpecErrors, problem_lines
from slicebed.spec.schema import (
    HostName,
    Role,
    StrictModel,
    Title,
    duration_us,
    frequency_khz,
    rate_bit_per_s,
    refuse,
    size_bytes,
    told,
    validate,
    whole,
)

if TYPE_CHECKING:
    from slicebed.spec.document import Document

MAX_HOSTS = 64
MAX_CORE = 1023


@dataclass(frozen=True)
class Host:
    """A machine of the testbed; None means that the machine's own value is left as it is.

    Attributes:
        name: as in the inventory.
        role: ``client``, ``edge``, ``cloud`` or any name.
        tier: its place in the testbed, counted from 0.
        cores: the cores its agent may use.
        memory_bytes: the memory its agent may use.
        cpu_frequency_khz: the fixed frequency of its cores.
    """

    name: str
    role: str
    tier: int
    cores: tuple[int, ...] | None = None
    memory_bytes: int | None = None
    cpu_frequency_khz: int | None = None


@dataclass(frozen=True)
class Link:
    """A symmetric pair of hosts; delay and jitter are one way, in microseconds; no rate means not limited."""

    a: str
    b: str
    delay_us: int
    jitter_us: int = 0
    rate_bit_per_s: int | None = None

    @property
    def pair(self) -> frozenset[str]:
        """Both ends, without an order."""
        return frozenset((self.a, self.b))


@dataclass(frozen=True)
class LabNetworks:
    """Address ranges of the embedded lab: SSH runs over ``management``, frames over ``data``."""

    management: IPv4Network
    data: IPv4Network


@dataclass(frozen=True)
class Testbed:
    """A validated testbed file; ``hosts`` are in tier order."""

    # Not a test class, whatever its name: pytest would try to collect it.
    __test__ = False

    name: str
    path: Path
    hosts: tuple[Host, ...]
    links: tuple[Link, ...]
    lab: LabNetworks | None = None

    @property
    def host_names(self) -> tuple[str, ...]:
        """Names of the hosts in tier order."""
        return tuple(host.name for host in self.hosts)

    def host(self, name: str) -> Host:
        """The host of that name; raises KeyError."""
        for host in self.hosts:
            if host.name == name:
                return host
        raise KeyError(name)

    def link(self, a: str, b: str) -> Link | None:
        """The link between two hosts, in whichever order it was written."""
        return next((link for link in self.links if link.pair == {a, b}), None)


def _network(value: object) -> IPv4Network:
    allowed = "an IPv4 network such as 10.198.0.0/16, /8 to /28"
    if not isinstance(value, str):
        refuse(f"{told(value)} is not a network", allowed)
    try:
        network = IPv4Network(value, strict=True)
    except (AddressValueError, NetmaskValueError, ValueError) as error:
        refuse(str(error), allowed)
    if not 8 <= network.prefixlen <= 28:
        refuse(f"{network} has an unfit prefix length", allowed)
    if network.is_multicast or network.is_loopback or network.is_link_local or network.is_unspecified:
        refuse(f"{network} is not for hosts", allowed)
    return network


Network = Annotated[IPv4Network, PlainValidator(_network)]


class _HostModel(StrictModel):
    role: Role
    cores: list[Annotated[int, whole(0, MAX_CORE)]] | None = None
    memory: Annotated[int, size_bytes("16 MiB", "4096 GiB")] | None = None
    cpu_frequency: Annotated[int, frequency_khz("100 MHz", "10 GHz")] | None = None


class _LinkModel(StrictModel):
    between: list[HostName]
    delay: Annotated[int, duration_us("0 s", "60 s")]
    jitter: Annotated[int, duration_us("0 s", "10 s")] = 0
    rate: Annotated[int, rate_bit_per_s("8 kbit/s", "100 Gbit/s")] | None = None


class _LabModel(StrictModel):
    management: Network
    data: Network


class _TestbedModel(StrictModel):
    name: Title
    hosts: dict[HostName, _HostModel]
    links: list[_LinkModel] = Field(default_factory=list)
    lab: _LabModel | None = None


def load_testbed(path: Path) -> Testbed:
    """Read and check a testbed file.

    Raises:
        SpecErrors: every mistake of the file, one line each with file:line:column (exit code 2).
    """
    document = read_document(path)
    model, problems = validate(document, _TestbedModel)
    problems += _host_problems(document) + _link_problems(document)
    if model is not None:
        problems += _lab_problems(document, model)
    if model is None or problems:
        raise SpecErrors(problem_lines(path, problems))
    hosts = tuple(
        Host(
            name=name,
            role=host.role,
            tier=tier,
            cores=None if host.cores is None else tuple(host.cores),
            memory_bytes=host.memory,
            cpu_frequency_khz=host.cpu_frequency,
        )
        for tier, (name, host) in enumerate(model.hosts.items())
    )
    links = tuple(Link(link.between[0], link.between[1], link.delay, link.jitter, link.rate) for link in model.links)
    lab = None if model.lab is None else LabNetworks(model.lab.management, model.lab.data)
    return Testbed(model.name, path, hosts, links, lab)


def _host_problems(document: Document) -> list[Problem]:
    hosts = document.data.get("hosts")
    if not isinstance(hosts, dict):
        return []
    problems = []
    if not 1 <= len(hosts) <= MAX_HOSTS:
        what = f"{len(hosts)} hosts"
        problems.append(Problem(document.key_mark(("hosts",)), what, f"1 to {MAX_HOSTS} hosts"))
    for name, host in hosts.items():
        cores = host.get("cores") if isinstance(host, dict) else None
        if not isinstance(cores, list):
            continue
        location = ("hosts", name, "cores")
        if not cores:
            problems.append(Problem(document.value_mark(location), "cores: an empty list", "at least one core"))
        problems += [
            Problem(document.value_mark((*location, index)), f"core {told(core)} is given twice", "each core once")
            for index, core in enumerate(cores)
            if core in cores[:index]
        ]
    return problems


def _link_problems(document: Document) -> list[Problem]:
    hosts, links = document.data.get("hosts"), document.data.get("links")
    if not isinstance(links, list):
        return []
    known = list(hosts) if isinstance(hosts, dict) else None
    problems = []
    seen: dict[frozenset[str], int] = {}
    for index, link in enumerate(links):
        location = ("links", index, "between")
        ends = link.get("between") if isinstance(link, dict) else None
        if not isinstance(ends, list):
            continue
        mark = document.value_mark(location)
        if len(ends) != 2:
            problems.append(Problem(mark, f"a link between {len(ends)} hosts", "two hosts"))
        names = [end for end in ends if isinstance(end, str)]
        problems += [
            Problem(document.value_mark((*location, place)), f'unknown host "{end}"', ", ".join(known))
            for place, end in enumerate(ends)
            if known is not None and isinstance(end, str) and end not in known
        ]
        if len(names) != 2 or len(ends) != 2:
            continue
        pair = frozenset(names)
        if len(pair) == 1:
            problems.append(Problem(mark, f'a link from "{names[0]}" to itself', "two different hosts"))
        elif pair in seen:
            first = document.value_mark(("links", seen[pair])).line
            what = f"a second link between {names[0]} and {names[1]}, the first is in line {first}"
            problems.append(Problem(mark, what, "one link for a pair, it serves both directions"))
        seen.setdefault(pair, index)
    return problems


def _lab_problems(document: Document, model: _TestbedModel) -> list[Problem]:
    problems = [
        Problem(document.value_mark(("links", index, "jitter")), "jitter is greater than delay", "0 s to the delay")
        for index, link in enumerate(model.links)
        if link.jitter > link.delay
    ]
    lab = model.lab
    if lab is None:
        return problems
    if lab.management.overlaps(lab.data):
        what = f"data {lab.data} overlaps management {lab.management}"
        problems.append(Problem(document.value_mark(("lab", "data")), what, "two ranges apart from each other"))
    # One address for the control machine, two that no host may have.
    if lab.management.num_addresses < len(model.hosts) + 3:
        what = f"management {lab.management} is too small for {len(model.hosts)} hosts"
        problems.append(Problem(document.value_mark(("lab", "management")), what, "a larger network"))
    # A network of four addresses for each link.
    if lab.data.num_addresses < 4 * len(model.links):
        what = f"data {lab.data} is too small for {len(model.links)} links"
        problems.append(Problem(document.value_mark(("lab", "data")), what, "a larger network"))
    return problems
