"""experiment.yml: which model is cut where, on which chain of hosts, under which configurations, how often."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.spec.cuts import Cut
from slicebed.spec.document import read_document
from slicebed.spec.exit_checks import head_file
from slicebed.spec.experiment_checks import experiment_problems
from slicebed.spec.experiment_model import MAX_FRAMES, ConfigurationModel, ExperimentModel
from slicebed.spec.model_checks import beside, images_of, model_of
from slicebed.spec.pipeline import Drop, Exit, Pipeline, Pixels, Placement, StageQueue, pairs_of
from slicebed.spec.problems import Problem, SpecErrors, problem_lines
from slicebed.spec.schema import validate
from slicebed.spec.testbed import Link, Testbed, load_testbed
from slicebed_agent.host.wish import LinkCondition

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed.spec.document import Document, Location
    from slicebed.spec.experiment_model import SourceModel
    from slicebed.spec.models import Images, ModelChoice
    from slicebed.spec.pipeline_model import PlacementModel

__all__ = ["MAX_FRAMES", "Configuration", "Cut", "Experiment", "HostCondition", "LinkDelay", "load_experiment"]

AS_TESTBED = "testbed"
"""The configuration of an experiment that names none: its testbed file's own links."""


@dataclass(frozen=True)
class Source:
    """The camera of the first host: batches of ``batch_size`` images, ``rate_per_s`` of them a second.

    Attributes:
        rate_per_s: frames a second.
        batch_size: images in a frame.
        seed: of what is drawn.
        queue_frames: places in the queue behind the camera.
        images: what it sees.
        drop: which frame that queue loses when it is full.
        file: the video, or the folder of pictures.
        height: of the pictures; 0 is the video's own.
        width: of the pictures; 0 is the video's own.
        loops: how often video or folder are shown; 0: as often as it takes.
        place: ``file:line:column``; for errors.
    """

    rate_per_s: float
    batch_size: int
    seed: int
    queue_frames: int
    images: Images
    drop: Drop = Drop.NEWEST
    file: Path | None = None
    height: int = 0
    width: int = 0
    loops: int = 0
    place: str | None = field(default=None, compare=False)

    def to_plain(self) -> dict[str, object]:
        """As JSON holds it."""
        plain = asdict(self) | {"file": None if self.file is None else str(self.file)}
        del plain["place"]
        return plain


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
class HostCondition:
    """How one host behaves in a configuration (paper, section 3.3 and Table 2).

    Attributes:
        overhead_ratio: after each frame the slice sleeps this many times its processing time.
        latency_us: added to all inbound and to all outbound traffic of the host, one way, in microseconds.
        max_message_bytes: longest serialised piece of a tensor in one message; 0 leaves it to the transport.
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
    """One condition of the whole chain; ``hosts`` is in the order of the chain.

    ``as_testbed`` is that of an experiment that names no conditions: the testbed's links hold, and the hosts neither
    sleep nor divide frames.
    """

    name: str
    hosts: Mapping[str, HostCondition]
    as_testbed: bool = False

    def links(self, pairs: Sequence[tuple[str, str]] | None = None) -> tuple[LinkDelay, ...]:
        """The delays of the links along the chain, or between these hosts; not of ``as_testbed``, which sets none.

        The paper's latency applies to inbound and to outbound traffic of each host (section 3.3), so that a message
        from a to b waits once at a and once at b: one-way delay = latency(a) + latency(b), round trip twice that.
        """
        return tuple(
            LinkDelay(a, b, self.hosts[a].latency_us + self.hosts[b].latency_us)
            for a, b in (pairwise(self.hosts) if pairs is None else pairs)
        )

    def asked_of(self, testbed: Testbed, pairs: Sequence[tuple[str, str]] | None = None) -> Testbed:
        """Give the testbed as this configuration wants it: along the chain its delays alone, elsewhere the file's."""
        if self.as_testbed:
            return testbed
        delays = {frozenset((link.a, link.b)): LinkCondition(delay_us=link.delay_us) for link in self.links(pairs)}

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
    model: ModelChoice
    chain: tuple[str, ...]
    frames: int
    source: Source
    queues: Queues | None
    repeats: int
    order: Order
    cuts: tuple[Cut, ...]
    configurations: tuple[Configuration, ...]
    placements: tuple[Placement, ...] = ()
    pipeline: Pipeline = field(default_factory=Pipeline)

    @property
    def every_placement(self) -> tuple[Placement, ...]:
        """The placements; without any, the one in which each host of the chain runs one slice."""
        if self.placements:
            return self.placements
        transformer = self.chain[0] if self.source.images.are_pictures else None
        return (Placement("", self.chain, transformer, None, self.cuts),)

    @property
    def every_cut(self) -> tuple[Cut, ...]:
        """The cuts of all placements, each once."""
        return tuple(dict.fromkeys(cut for placement in self.every_placement for cut in placement.cuts))

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Every link that frames pass."""
        return pairs_of(self.every_placement, self.chain[0])

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
            "model": self.model.argument,
            "model_settings": self.model.settings(),
            "chain": list(self.chain),
            "frames": self.frames,
            "source": self.source.to_plain(),
            "queues": None if self.queues is None else asdict(self.queues),
            "repeats": self.repeats,
            "order": asdict(self.order),
            "cuts": [cut.label for cut in self.cuts],
            "placements": [placement.to_plain() for placement in self.placements],
            "pipeline": self.pipeline.to_plain(),
            "configurations": [
                {"name": each.name, "hosts": {host: asdict(condition) for host, condition in each.hosts.items()}}
                for each in self.configurations
            ],
        }


def load_experiment(path: Path) -> Experiment:
    """Read and check an experiment file and the testbed file it names.

    Raises:
        SpecErrors: every mistake of both files, one line each with file:line:column (exit code 2).
    """
    document = read_document(path)
    model, problems = validate(document, ExperimentModel)
    testbed, testbed_lines = _load_testbed(document, problems)
    problems += experiment_problems(document, testbed)
    lines = problem_lines(path, problems) + testbed_lines
    if model is None or testbed is None or lines:
        raise SpecErrors(lines)
    return Experiment(
        name=model.name,
        path=path,
        testbed=testbed,
        model=model_of(document, model.model),
        chain=tuple(model.chain),
        frames=model.frames,
        source=_source(document, model.source),
        queues=None if model.queues is None else Queues(model.queues.inbound, model.queues.outbound),
        repeats=model.repeats,
        order=Order(model.order.randomised, model.order.seed),
        cuts=_placed(document, ("cuts",), model.cuts),
        configurations=_configurations(model),
        placements=tuple(_placement(document, index, each) for index, each in enumerate(model.placements or ())),
        pipeline=_pipeline(document, model),
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


def _source(document: Document, model: SourceModel) -> Source:
    named = model.video if model.video is not None else model.folder
    width, height = model.resolution or (0, 0)
    return Source(
        model.rate,
        model.batch_size,
        model.seed,
        model.queue,
        images_of(document, model),
        drop=model.drop,
        file=None if named is None else beside(document, named),
        height=height,
        width=width,
        loops=model.loops or 0,
        place=document.place(document.key_mark(("source",))),
    )


def _pipeline(document: Document, model: ExperimentModel) -> Pipeline:
    given = {} if model.stages is None else model.stages.given()
    pixels = model.pixels
    return Pipeline(
        codec=model.codec,
        queues=MappingProxyType({kind: StageQueue(each.queue, each.drop) for kind, each in given.items()}),
        exits=tuple(
            Exit(
                each.after,
                head_file(document, each.head),
                each.threshold,
                place=document.place(document.value_mark(("exits", index))),
            )
            for index, each in enumerate(model.exits or ())
        ),
        pixels=None if pixels is None else Pixels(pixels.range[0], pixels.range[1], pixels.bgr),
        reconnect_us=model.reconnect,
    )


def _placement(document: Document, index: int, model: PlacementModel) -> Placement:
    whole = (Cut((), place=document.place(document.value_mark(("placements", index)))),)
    cuts = _placed(document, ("placements", index, "cuts"), model.cuts) or whole
    return Placement(model.name, tuple(model.slices), model.transformer, model.classifier, cuts)


def _placed(document: Document, location: Location, cuts: Sequence[Cut] | None) -> tuple[Cut, ...]:
    """The cuts with the place of each in the file."""
    return tuple(
        replace(cut, place=document.place(document.value_mark((*location, index))))
        for index, cut in enumerate(cuts or ())
    )


def _configurations(model: ExperimentModel) -> tuple[Configuration, ...]:
    if model.configurations is not None:
        return tuple(_configuration(each, model.chain) for each in model.configurations)
    idle = HostCondition(overhead_ratio=0.0, latency_us=0, max_message_bytes=0)
    return (Configuration(AS_TESTBED, MappingProxyType(dict.fromkeys(model.chain, idle)), as_testbed=True),)


def _configuration(model: ConfigurationModel, chain: list[str]) -> Configuration:
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
