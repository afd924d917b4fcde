"""Which campaigns the published tables and figures come from, and how long these will take; pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed_agent.model.zoo.entries import find

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed.spec.experiment import Experiment

TABLE_5, TABLE_6, FIGURE_4, FIGURE_9 = "couper-table5", "couper-table6", "couper-fig4", "couper-fig9"
FIGURES_10_12, DNN_SLICING, ALL = "couper-fig10-12", "dnn-slicing", "all"
TARGETS = (TABLE_5, TABLE_6, FIGURE_4, FIGURE_9, FIGURES_10_12, DNN_SLICING)
"""What may be reproduced, in the order of the report; `ALL` stands for all of them."""

# Beyond the frames' own time: the cut is changed, links are measured, samples are gathered.
_CELL_S = 3.0
# Frames still in queues when the camera has ended, and how much longer than a core an edge of 0.4 cores takes in the
# mean of all cuts: half of the model is there.
_QUEUED, _SLOWER = 5, 1.25
# Once for each model and condition: it is laid on the hosts and the links are set and measured.
_PROBLEM_S = 8.0
# Pictures whose answers the client computes once of each model.
_CHECKED = 8
_CAMPAIGN_S = 6.0
_DEPLOY_S = 20.0
# Split points that early-stop and hybrid evaluate before they stop; their number is known afterwards only.
_STOPPED_AFTER = 8


@dataclass(frozen=True)
class Part:
    """One campaign: an experiment file, or some of it.

    Attributes:
        name: of its folder.
        file: under ``experiments/``.
        targets: that its figures are for.
        models: of a search: only these, by their names in the zoo; None: all.
        conditions: of a search: only these; None: all.
        methods: of a search: instead of the file's; None: the file's.
        frames: of every run, instead of the file's.
        budget: the most candidates that a method may measure; None: the file's.
        at_most: repeats of a candidate, instead of the file's.
    """

    name: str
    file: Path
    targets: tuple[str, ...]
    models: tuple[str, ...] | None = None
    conditions: tuple[str, ...] | None = None
    methods: tuple[str, ...] | None = None
    frames: int | None = None
    budget: int | None = None
    at_most: int | None = None

    def of(self, experiment: Experiment) -> Experiment:
        """The experiment of its file with the repeats of this part."""
        search = experiment.search
        if search is None or self.at_most is None:
            return experiment
        fewer = replace(search, at_least=min(search.at_least, self.at_most), at_most=self.at_most, until=None)
        return replace(experiment, search=fewer)


@dataclass(frozen=True)
class Planned:
    """What a part will take.

    Attributes:
        part: the part.
        problems: models times conditions.
        cells: runs; of a search as many as its methods are expected to ask for together, each candidate once.
        seconds: for all of them.
    """

    part: Part
    problems: int
    cells: int
    seconds: float


_FOLDER = Path("reproduce")
_EDGES = (TABLE_5, TABLE_6, FIGURE_9, FIGURES_10_12)
_FULL = (
    # First: its hosts have all of their cores, and a search gives them the shares of its testbeds.
    Part("dnn_slicing", Path("dnn_slicing.yml"), (DNN_SLICING,)),
    Part("fig10", _FOLDER / "couper_fig10.yml", _EDGES),
    Part("fig11", _FOLDER / "couper_fig11.yml", _EDGES),
    Part("fig12", _FOLDER / "couper_fig12.yml", _EDGES),
    Part("table5", _FOLDER / "couper_table5.yml", (TABLE_5, FIGURE_9)),
    Part("fig4", _FOLDER / "couper_fig4.yml", (FIGURE_4,)),
    Part("whole", _FOLDER / "couper_fig9.yml", (FIGURE_9,), conditions=("mid",)),
    Part("whole_table3", _FOLDER / "couper_fig9.yml", (FIGURE_4,), models=("resnet50_v2",), conditions=("table3",)),
)
_FRAMES = 16
# Every split point of Inception V3 and PNASNet with one edge; with others, and of other models, what hybrid asks for.
_QUICK = (
    Part("dnn_slicing", _FULL[0].file, (DNN_SLICING,), frames=30),
    Part("fig10", _FULL[1].file, _EDGES, conditions=("mid",), frames=_FRAMES, at_most=1),
    Part(
        *("fig10_others", _FULL[1].file, (TABLE_6, FIGURES_10_12)),
        conditions=("low", "high"),
        methods=("hybrid",),
        frames=_FRAMES,
        at_most=1,
    ),
    Part("fig11", _FULL[2].file, _EDGES, methods=("hybrid",), frames=_FRAMES, budget=12, at_most=1),
    Part("fig12", _FULL[3].file, _EDGES, conditions=("mid",), frames=_FRAMES, at_most=1),
    Part(
        *("fig12_others", _FULL[3].file, (TABLE_6, FIGURES_10_12)),
        conditions=("low", "high"),
        methods=("hybrid",),
        frames=_FRAMES,
        at_most=1,
    ),
    Part(
        *("table5", _FULL[4].file, (TABLE_5, FIGURE_9)),
        models=("mobilenet_v2", "resnet50_v2"),
        methods=("hybrid",),
        frames=_FRAMES,
        # Above a tenth of the candidates, so that hybrid may miss that.
        budget=18,
        at_most=1,
    ),
    Part("fig4", _FULL[5].file, (FIGURE_4,), frames=_FRAMES, at_most=1),
    Part(
        *("whole", _FULL[6].file, (FIGURE_9,)),
        models=("mobilenet_v2", "resnet50_v2", "inception_v3", "inception_resnet_v2", "pnasnet5_large"),
        conditions=("mid",),
        frames=30,
        at_most=1,
    ),
    Part(
        *("whole_table3", _FULL[7].file, (FIGURE_4,)),
        models=("resnet50_v2",),
        conditions=("table3",),
        frames=30,
        at_most=1,
    ),
)
KNOWN: Mapping[str, tuple[int, float]] = MappingProxyType(
    {
        "vgg16": (53, 0.9),
        "mobilenet_v2": (98, 0.06),
        "resnet50_v2": (39, 0.16),
        "inception_v3": (36, 0.21),
        "inception_resnet_v2": (111, 0.8),
        "nasnet_large": (8, 2.4),
        "pnasnet5_large": (8, 1.7),
    }
)
"""For the plan: candidates by Couper's rule, and about how many seconds a core of 2026 takes for a frame."""


def parts_of(targets: Sequence[str], *, quick: bool) -> tuple[Part, ...]:
    """The campaigns that these targets need, each once.

    Raises:
        SpecError: no such target.
    """
    unknown = [each for each in targets if each not in (*TARGETS, ALL)]
    if unknown:
        raise SpecError(f'nothing called "{unknown[0]}" to reproduce', mend=f"allowed: {', '.join((*TARGETS, ALL))}")
    wanted = set(every_target(targets))
    return tuple(part for part in (_QUICK if quick else _FULL) if wanted & set(part.targets))


def every_target(targets: Sequence[str]) -> tuple[str, ...]:
    """The targets that are meant, in the order of the report."""
    return tuple(each for each in TARGETS if each in targets or ALL in targets)


def plan_part(part: Part, experiment: Experiment, *, first: bool = False) -> Planned:
    """What a part will take, from its experiment and the published counts of candidates.

    Args:
        part: the part.
        experiment: of its file.
        first: nothing is deployed yet.
    """
    frames = part.frames or experiment.frames
    cell_s = frames / experiment.source.rate_per_s + _CELL_S
    once_s = _CAMPAIGN_S + (_DEPLOY_S if first or is_deployed_for(experiment) else 0.0)
    if experiment.search is None:
        problems = len(experiment.configurations)
        cells = problems * experiment.repeats * sum(len(each.cuts) for each in experiment.every_placement)
        return Planned(part, problems, cells, once_s + problems * _PROBLEM_S + cells * cell_s)
    search = part.of(experiment).search or experiment.search
    models = part.models or tuple(each.argument for each in search.models)
    conditions = part.conditions or tuple(search.testbeds)
    each_s, cells = 0.0, 0
    for model in models:
        candidates, frame_s = _known(model)
        asked = _asked(part, experiment, candidates) * len(conditions) * search.at_least
        cells += asked
        each_s += _CHECKED * frame_s + asked * (cell_s + _QUEUED * _SLOWER * frame_s)
    problems = len(models) * len(conditions)
    return Planned(part, problems, cells, once_s + problems * _PROBLEM_S + each_s)


def is_deployed_for(experiment: Experiment) -> bool:
    """Whether agents have to be started in control groups whose limits a search sets, and takes away behind itself."""
    return experiment.search is not None and "workload" in experiment.search.parts


def _known(model: str) -> tuple[int, float]:
    """Candidates by Couper's rule and seconds of a core for a frame; of a model that is not the paper's nothing."""
    entry = find(model)
    return KNOWN.get(entry.name if entry else "", (0, 0.0))


def _asked(part: Part, experiment: Experiment, by_rule: int) -> int:
    """Candidates of a model that the methods are expected to ask for together."""
    candidates = sum(by_rule if each.rule else len(each.cuts) for each in experiment.every_placement)
    search = experiment.search
    methods = part.methods or (search.methods if search else ())
    most = max((_expected(method, candidates) for method in methods), default=0)
    budget = part.budget or (search.budget if search else None)
    return min(most, budget or most)


def _expected(method: str, candidates: int) -> int:
    # Half of all transfers are at most their median.
    slim = (candidates + 1) // 2
    return {
        "comm-slim": slim,
        "early-stop": min(candidates, _STOPPED_AFTER),
        "hybrid": min(slim, _STOPPED_AFTER),
    }.get(method, candidates)
