"""experiment.yml: which model is cut where, on which chain of hosts, under which configurations, how often."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from pydantic import PlainValidator

from slicebed.spec.document import read_document
from slicebed.spec.experiment_checks import cut_points, experiment_problems
from slicebed.spec.models import HELD_OUT_IMAGES
from slicebed.spec.problems import Problem, SpecErrors, problem_lines
from slicebed.spec.schema import (
    Boolean,
    FileName,
    HostName,
    ModelName,
    StrictModel,
    Title,
    duration_us,
    frames_per_s,
    number,
    refuse,
    size_bytes,
    told,
    validate,
    whole,
)
from slicebed.spec.testbed import Link, Testbed, load_testbed
from slicebed_agent.host.wish import LinkCondition

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.spec.document import Document

MAX_FRAMES = 1_000_000
MAX_SEED = 2**63 - 1


@dataclass(frozen=True)
class Source:
    """The camera of the first host: batches of ``batch_size`` images, ``rate_per_s`` of them a second."""

    rate_per_s: float
    batch_size: int
    seed: int
    queue_frames: int


@dataclass(frozen=True)
class Queues:
    """Places in every agent's queues: inbound counts messages (parts of frames), outbound counts frames."""

    inbound_messages: int
    outbound_frames: int


@dataclass(frozen=True)
class Order:
    """Whether the runs are shuffled, and the seed that makes the shuffle repeatable."""

    randomised: bool
    seed: int


@dataclass(frozen=True)
class Cut:
    """Where the model is cut: the layer after which each host but the last hands over, strictly increasing."""

    points: tuple[int, ...]

    @property
    def label(self) -> str:
        """The points joined by hyphens, such as ``1-8``."""
        return "-".join(str(point) for point in self.points)

    def slices(self, layers: int) -> tuple[tuple[int, int], ...]:
        """First and last layer of every host of the chain, counted from 1, both included."""
        edges = (0, *self.points, layers)
        return tuple((first + 1, last) for first, last in pairwise(edges))


@dataclass(frozen=True)
class HostCondition:
    """How one host behaves in a configuration (paper, section 3.3 and Table 2).

    Attributes:
        overhead_ratio: after each frame the slice sleeps this many times its processing time.
        latency_us: added to all inbound and to all outbound traffic of the host, one way, in microseconds.
        max_message_bytes: longest serialised piece of a tensor in one message.
    """

    overhead_ratio: float
    latency_us: int
    max_message_bytes: int


@dataclass(frozen=True)
class LinkDelay:
    """The one-way delay asked of a link, the same in both directions, in microseconds."""

    a: str
    b: str
    delay_us: int

    @property
    def rtt_us(self) -> int:
        """The round-trip time that a ping should show, in microseconds."""
        return 2 * self.delay_us


@dataclass(frozen=True)
class Configuration:
    """One condition of the whole chain; ``hosts`` is in the order of the chain."""

    name: str
    hosts: Mapping[str, HostCondition]

    def links(self) -> tuple[LinkDelay, ...]:
        """The delays of the links along the chain.

        The paper's latency applies to inbound and to outbound traffic of each host (section 3.3), so that a message
        from a to b waits once at a and once at b: one-way delay = latency(a) + latency(b), round trip twice that.
        """
        return tuple(
            LinkDelay(a, b, self.hosts[a].latency_us + self.hosts[b].latency_us) for a, b in pairwise(self.hosts)
        )

    def asked_of(self, testbed: Testbed) -> Testbed:
        """Give the testbed as this configuration wants it: along the chain its delays alone, elsewhere the file's."""
        delays = {frozenset((link.a, link.b)): LinkCondition(delay_us=link.delay_us) for link in self.links()}

        def asked(link: Link) -> Link:
            delay = delays.get(link.pair)
            return link if delay is None else replace(link, forward=delay, backward=delay)

        return replace(testbed, links=tuple(asked(link) for link in testbed.links))


@dataclass(frozen=True)
class Experiment:
    """A validated experiment file with its testbed."""

    name: str
    path: Path
    testbed: Testbed
    model: str
    chain: tuple[str, ...]
    frames: int
    source: Source
    queues: Queues
    repeats: int
    order: Order
    cuts: tuple[Cut, ...]
    configurations: tuple[Configuration, ...]

    def configuration(self, name: str) -> Configuration:
        """The configuration of that name; raises KeyError."""
        for configuration in self.configurations:
            if configuration.name == name:
                return configuration
        raise KeyError(name)

    def to_plain(self) -> dict[str, object]:
        """The experiment as JSON-ready values, every quantity in the unit its name gives; for manifests."""
        lab = self.testbed.lab
        return {
            "name": self.name,
            "path": str(self.path),
            "testbed": {
                "name": self.testbed.name,
                "path": str(self.testbed.path),
                "hosts": [asdict(host) for host in self.testbed.hosts],
                "links": [link.to_plain() for link in self.testbed.links],
                "lab": None if lab is None else {"management": str(lab.management), "data": str(lab.data)},
            },
            "model": self.model,
            "chain": list(self.chain),
            "frames": self.frames,
            "source": asdict(self.source),
            "queues": asdict(self.queues),
            "repeats": self.repeats,
            "order": asdict(self.order),
            "cuts": [cut.label for cut in self.cuts],
            "configurations": [
                {"name": each.name, "hosts": {host: asdict(condition) for host, condition in each.hosts.items()}}
                for each in self.configurations
            ],
        }


def _cut(value: object) -> Cut:
    points = cut_points(value)
    if points is None:
        refuse(f"{told(value)} is not a cut", 'layer numbers joined by hyphens, in quotes, such as "1-8"')
    return Cut(points)


class _SourceModel(StrictModel):
    rate: Annotated[float, frames_per_s("0.001 frame/s", "1000 frame/s")]
    batch_size: Annotated[int, whole(1, HELD_OUT_IMAGES)]
    seed: Annotated[int, whole(0, MAX_SEED)]
    queue: Annotated[int, whole(1, 65536)]


class _QueuesModel(StrictModel):
    inbound: Annotated[int, whole(1, 65536)]
    outbound: Annotated[int, whole(1, 65536)]


class _OrderModel(StrictModel):
    randomised: Boolean
    seed: Annotated[int, whole(0, MAX_SEED)]


class _HostConditionModel(StrictModel):
    overhead_ratio: Annotated[float, number(0, 1000)]
    latency: Annotated[int, duration_us("0 s", "10 s")]
    max_throughput: Annotated[int, size_bytes("1 kB", "16 MiB")]


class _ConfigurationModel(StrictModel):
    name: Title
    hosts: dict[HostName, _HostConditionModel]


class _ExperimentModel(StrictModel):
    name: Title
    testbed: FileName
    model: ModelName
    chain: list[HostName]
    frames: Annotated[int, whole(1, MAX_FRAMES)]
    source: _SourceModel
    queues: _QueuesModel
    repeats: Annotated[int, whole(1, 1000)]
    order: _OrderModel
    cuts: list[Annotated[Cut, PlainValidator(_cut)]]
    configurations: list[_ConfigurationModel]


def load_experiment(path: Path) -> Experiment:
    """Read and check an experiment file and the testbed file it names.

    Raises:
        SpecErrors: every mistake of both files, one line each with file:line:column (exit code 2).
    """
    document = read_document(path)
    model, problems = validate(document, _ExperimentModel)
    testbed, testbed_lines = _load_testbed(document, problems)
    problems += experiment_problems(document, testbed)
    lines = problem_lines(path, problems) + testbed_lines
    if model is None or testbed is None or lines:
        raise SpecErrors(lines)
    return Experiment(
        name=model.name,
        path=path,
        testbed=testbed,
        model=model.model,
        chain=tuple(model.chain),
        frames=model.frames,
        source=Source(model.source.rate, model.source.batch_size, model.source.seed, model.source.queue),
        queues=Queues(model.queues.inbound, model.queues.outbound),
        repeats=model.repeats,
        order=Order(model.order.randomised, model.order.seed),
        cuts=tuple(model.cuts),
        configurations=tuple(_configuration(each, model.chain) for each in model.configurations),
    )


def _load_testbed(document: Document, problems: list[Problem]) -> tuple[Testbed | None, list[str]]:
    """The testbed the document names; a missing file is a problem of the document, others are the testbed's own."""
    named = document.data.get("testbed")
    if not isinstance(named, str) or not named or "\0" in named:
        return None, []
    # normpath: messages and manifests show inventory/..., not experiments/../inventory/...
    path = Path(os.path.normpath(document.path.parent / named))
    if not path.is_file():
        what = f'testbed: no such file "{named}"'
        problems.append(Problem(document.value_mark(("testbed",)), what, "a path relative to this file"))
        return None, []
    try:
        return load_testbed(path), []
    except SpecErrors as error:
        return None, list(error.lines)


def _configuration(model: _ConfigurationModel, chain: list[str]) -> Configuration:
    conditions = {name: model.hosts[name] for name in chain}
    return Configuration(
        model.name,
        MappingProxyType(
            {
                name: HostCondition(each.overhead_ratio, each.latency, each.max_throughput)
                for name, each in conditions.items()
            }
        ),
    )
