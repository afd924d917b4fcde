"""experiment.yml: which model is cut where, on which chain of hosts, under which configurations, how often."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.spec.configuration import AS_TESTBED, Configuration, HostCondition, LinkDelay, configurations_of
from slicebed.spec.cuts import Cut, CutRule, cut_rule_of
from slicebed.spec.document import read_document
from slicebed.spec.exit_checks import head_file
from slicebed.spec.experiment_checks import experiment_problems
from slicebed.spec.experiment_model import EQUALITY_BAR, MAX_FRAMES, ExperimentModel
from slicebed.spec.model_checks import beside, images_of, model_of
from slicebed.spec.pipeline import Drop, Exit, Pipeline, Pixels, Placement, StageQueue, pairs_of
from slicebed.spec.pipeline_checks import placements_of
from slicebed.spec.problems import Problem, SpecErrors, problem_lines
from slicebed.spec.schema import validate
from slicebed.spec.search import OWN_TESTBED, Search, search_of, testbed_to_plain
from slicebed.spec.testbed import Testbed, load_testbed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed.spec.document import Document, Location
    from slicebed.spec.experiment_model import SourceModel
    from slicebed.spec.models import Images, ModelChoice
    from slicebed.spec.pipeline_model import PlacementModel
    from slicebed.spec.search_model import SearchModel

__all__ = [
    "AS_TESTBED",
    "MAX_FRAMES",
    "Configuration",
    "Cut",
    "CutRule",
    "Experiment",
    "HostCondition",
    "LinkDelay",
    "Search",
    "load_experiment",
    "own_search",
]


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
class Experiment:
    """A validated experiment file with its testbed.

    With a ``cut_rule``, or a placement with one, cuts are known only when the model is opened:
    `slicebed.run.found_cuts.resolve_cuts`.
    """

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
    cut_rule: CutRule | None = None
    search: Search | None = None
    tolerance: float = EQUALITY_BAR

    @property
    def every_placement(self) -> tuple[Placement, ...]:
        """The placements; without any, the one in which each host of the chain runs one slice."""
        if self.placements:
            return self.placements
        transformer = self.chain[0] if self.source.images.are_pictures else None
        return (Placement("", self.chain, transformer, None, self.cuts, self.cut_rule),)

    @property
    def every_cut(self) -> tuple[Cut, ...]:
        """The cuts of all placements, each once."""
        return tuple(dict.fromkeys(cut for placement in self.every_placement for cut in placement.cuts))

    @property
    def is_cut_by_rule(self) -> bool:
        """Whether there are cuts that only the opened model tells."""
        return any(placement.rule is not None for placement in self.every_placement)

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
        return {
            "name": self.name,
            "path": str(self.path),
            "testbed": testbed_to_plain(self.testbed),
            "model": self.model.argument,
            "model_settings": self.model.settings(),
            "chain": list(self.chain),
            "frames": self.frames,
            "source": self.source.to_plain(),
            "queues": None if self.queues is None else asdict(self.queues),
            "repeats": self.repeats,
            "order": asdict(self.order),
            "cuts": [cut.label for cut in self.cuts],
            "cut_rule": self.cut_rule,
            "placements": [placement.to_plain() for placement in self.placements],
            "pipeline": self.pipeline.to_plain(),
            "configurations": [
                {"name": each.name, "hosts": {host: asdict(condition) for host, condition in each.hosts.items()}}
                for each in self.configurations
            ],
            "search": None if self.search is None else self.search.to_plain(),
            "tolerance": self.tolerance,
        }


def load_experiment(path: Path) -> Experiment:
    """Read and check an experiment file and the testbed file it names.

    Raises:
        SpecErrors: every mistake of both files, one line each with file:line:column (exit code 2).
    """
    document = read_document(path)
    model, problems = validate(document, ExperimentModel)
    testbed, testbed_lines = _load_testbed(document, ("testbed",), document.data.get("testbed"), problems)
    testbeds, other_lines = _search_testbeds(document, problems)
    problems += experiment_problems(document, testbed, testbeds)
    lines = problem_lines(path, problems) + testbed_lines + other_lines
    if model is None or testbed is None or lines:
        raise SpecErrors(lines)
    experiment = Experiment(
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
        configurations=configurations_of(model),
        placements=tuple(_placement(document, index, each) for index, each in enumerate(model.placements or ())),
        pipeline=_pipeline(document, model),
        cut_rule=cut_rule_of(document.data.get("cuts")),
        tolerance=model.tolerance,
    )
    return experiment if model.search is None else _searched(document, experiment, model.search, testbeds)


def _load_testbed(
    document: Document, location: Location, named: object, problems: list[Problem]
) -> tuple[Testbed | None, list[str]]:
    """The testbed named there; a missing file is a problem of the document, others are the testbed's own."""
    if not isinstance(named, str) or not named or "\0" in named:
        return None, []
    # normpath: messages and manifests show inventory/..., not experiments/../inventory/...
    path = Path(os.path.normpath(document.path.parent / named))
    if not path.is_file():
        what = f'testbed: no such file "{named}"'
        problems.append(Problem(document.value_mark(location), what, "a path relative to this file"))
        return None, []
    try:
        return load_testbed(path), []
    except SpecErrors as error:
        return None, list(error.lines)


def _search_testbeds(document: Document, problems: list[Problem]) -> tuple[dict[str, Testbed], list[str]]:
    """Those that the search names and that can be read, by condition; and the lines of the others."""
    search = document.data.get("search")
    named = search.get("testbeds") if isinstance(search, dict) else None
    found, lines = {}, []
    for name, file in (named if isinstance(named, dict) else {}).items():
        testbed, wrong = _load_testbed(document, ("search", "testbeds", name), file, problems)
        lines += wrong
        if testbed is not None:
            found[name] = testbed
    return found, lines


def _searched(
    document: Document, experiment: Experiment, model: SearchModel, testbeds: Mapping[str, Testbed]
) -> Experiment:
    """The experiment with its search; each of the search's testbeds must link the hosts that frames pass."""
    problems = [
        Problem(
            document.value_mark(("search", "testbeds", name)),
            f"{testbed.path} does not link {a} and {b}, between which frames pass",
            f"links as {experiment.testbed.path} has them",
        )
        for name, testbed in testbeds.items()
        for a, b in experiment.pairs
        if testbed.link(a, b) is None
    ]
    if problems:
        raise SpecErrors(problem_lines(experiment.path, problems))
    return replace(experiment, search=search_of(document, model, testbeds, own_search(experiment)))


def own_search(experiment: Experiment) -> Search:
    """The search of an experiment that says nothing of one: its model on its testbed."""
    return Search(
        models=(experiment.model,),
        testbeds=MappingProxyType({OWN_TESTBED: experiment.testbed}),
        codecs=(experiment.pipeline.codec,),
        at_least=experiment.repeats,
        at_most=experiment.repeats,
    )


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
    rule = cut_rule_of(dict(placements_of(document))[index].get("cuts"))
    cuts = _placed(document, ("placements", index, "cuts"), model.cuts)
    if not cuts and rule is None:
        cuts = (Cut((), place=document.place(document.value_mark(("placements", index)))),)
    return Placement(model.name, tuple(model.slices), model.transformer, model.classifier, cuts, rule)


def _placed(document: Document, location: Location, cuts: Sequence[Cut] | None) -> tuple[Cut, ...]:
    """The cuts with the place of each in the file."""
    return tuple(
        replace(cut, place=document.place(document.value_mark((*location, index))))
        for index, cut in enumerate(cuts or ())
    )
