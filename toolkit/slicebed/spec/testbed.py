"""testbed.yml: hosts in the order of their tiers, the links between them, and the embedded lab's networks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from slicebed.spec.document import read_document
from slicebed.spec.links import AskedRtt, Link, make_link
from slicebed.spec.problems import SpecErrors, problem_lines
from slicebed.spec.schema import validate
from slicebed.spec.testbed_checks import file_problems, lab_problems
from slicebed.spec.testbed_model import DataPlane, HostModel, TcpMode, TestbedModel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from ipaddress import IPv4Network
    from pathlib import Path

    from slicebed.spec.document import Document, Location

__all__ = ["AskedRtt", "DataPlane", "Host", "LabNetworks", "Link", "TcpMode", "Testbed", "load_testbed"]


@dataclass(frozen=True)
class Host:
    """A machine of the testbed; None means that the machine's own value is left as it is.

    Attributes:
        name: as in the inventory.
        role: ``client``, ``edge``, ``cloud`` or any name.
        tier: its place in the testbed, counted from 0.
        cores: the cores its workload may use.
        memory_bytes: the memory its workload may use.
        cpu_quota: processor time its workload gets per second of time, such as 1.5.
        cpu_period_us: over what time that is counted; the shorter, the smoother.
        gpu: whether its workload sees the GPU.
        cpu_frequency_khz: the fixed frequency of its cores; not together with the next two.
        cpu_min_khz: their lowest frequency.
        cpu_max_khz: their highest frequency.
        governor: the cpufreq governor.
        boost: whether turbo frequencies are allowed.
        smt: whether simultaneous multithreading is on.
        online_cores: cores left online, the first N.
        uplink_bit_per_s: a cap that all its links share.
    """

    name: str
    role: str
    tier: int
    cores: tuple[int, ...] | None = None
    memory_bytes: int | None = None
    cpu_quota: float | None = None
    cpu_period_us: int | None = None
    gpu: bool | None = None
    cpu_frequency_khz: int | None = None
    cpu_min_khz: int | None = None
    cpu_max_khz: int | None = None
    governor: str | None = None
    boost: bool | None = None
    smt: bool | None = None
    online_cores: int | None = None
    uplink_bit_per_s: int | None = None


@dataclass(frozen=True)
class LabNetworks:
    """Address ranges of the embedded lab: SSH runs over ``management``, frames over ``data`` as ``data_plane`` says."""

    management: IPv4Network
    data: IPv4Network
    data_plane: DataPlane = DataPlane.TLS


@dataclass(frozen=True)
class Testbed:
    """A validated testbed file; ``hosts`` are in tier order, ``lines`` is where each key stands in the file.

    ``tcp`` is how all of its hosts send TCP.
    """

    # Not a test class, whatever its name: pytest would try to collect it.
    __test__ = False

    name: str
    path: Path
    hosts: tuple[Host, ...]
    links: tuple[Link, ...]
    lab: LabNetworks | None = None
    tcp: TcpMode = TcpMode.KERNEL
    lines: Mapping[Location, int] = field(default_factory=dict, compare=False, repr=False)

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

    def place_of_host(self, name: str, key: str | None = None) -> str:
        """``file:line`` of a host, or of one of its keys when the file has it."""
        return self._place(("hosts", name), key)

    def place_of_link(self, a: str, b: str, key: str | None = None) -> str:
        """``file:line`` of the link between two hosts, or of one of its keys; of the links when there is none."""
        index = next((index for index, link in enumerate(self.links) if link.pair == {a, b}), None)
        return self._place(("links",) if index is None else ("links", index), key)

    def _place(self, location: Location, key: str | None) -> str:
        line = self.lines.get(location)
        if key is not None:
            line = self.lines.get((*location, key), line)
        return str(self.path) if line is None else f"{self.path}:{line}"


def load_testbed(path: Path) -> Testbed:
    """Read and check a testbed file.

    Raises:
        SpecErrors: every mistake of the file, one line each with file:line:column (exit code 2).
    """
    document = read_document(path)
    model, problems = validate(document, TestbedModel)
    problems += file_problems(document)
    if model is not None:
        problems += lab_problems(document, model)
    if model is None or problems:
        raise SpecErrors(problem_lines(path, problems))
    hosts = tuple(_host(name, tier, host) for tier, (name, host) in enumerate(model.hosts.items()))
    lab = None if model.lab is None else LabNetworks(model.lab.management, model.lab.data, model.lab.data_plane)
    links = tuple(make_link(link) for link in model.links)
    return Testbed(model.name, path, hosts, links, lab, model.tcp, _lines(document))


def _host(name: str, tier: int, model: HostModel) -> Host:
    return Host(
        name=name,
        role=model.role,
        tier=tier,
        cores=None if model.cores is None else tuple(model.cores),
        memory_bytes=model.memory,
        cpu_quota=model.cpu_quota,
        cpu_period_us=model.cpu_period,
        gpu=model.gpu,
        cpu_frequency_khz=model.cpu_frequency,
        cpu_min_khz=model.cpu_frequency_min,
        cpu_max_khz=model.cpu_frequency_max,
        governor=model.governor,
        boost=model.boost,
        smt=model.smt,
        online_cores=model.online_cores,
        uplink_bit_per_s=model.uplink_rate,
    )


def _lines(document: Document) -> dict[Location, int]:
    return {location: mark.line for location, mark in (document.value_marks | document.key_marks).items()}
