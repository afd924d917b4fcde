"""What a search looks through: every candidate of a model under a condition, and how each is run; pure."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.run.layout import lay_out
from slicebed.spec.choice_model import MAX_SEED
from slicebed.spec.cuts import WHOLE, digest
from slicebed.spec.knobs import with_knobs
from slicebed.spec.order import PlannedRun
from slicebed.spec.pipeline import StageKind
from slicebed.spec.wishes import workload_wish
from slicebed.split.search.contracts import Boundary, Candidate
from slicebed_agent.pipeline.codecs import SHRUNK, Codec

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slicebed.run.layout import HostStages
    from slicebed.run.sliced_model import SlicedModel
    from slicebed.spec.cuts import Cut
    from slicebed.spec.experiment import Configuration, Experiment
    from slicebed.spec.pipeline import Placement
    from slicebed.spec.search import Search
    from slicebed.spec.testbed import Testbed
    from slicebed.split.model import OpenedModel
    from slicebed_agent.model.graph import Tensor

Knobs = tuple[tuple[str, float | str], ...]
"""Values of knobs, sorted by name."""

_LONGEST_RUN_ID = 80
_PLAIN = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_COLOURS = 3


@dataclass(frozen=True)
class Variant:
    """How the testbed runs a candidate."""

    candidate: Candidate
    placement: Placement
    cut: Cut
    codec: Codec
    apart: tuple[str, ...]
    """What tells it from the search's others of its placement and cut: model, codec, knobs."""

    @property
    def knobs(self) -> Knobs:
        """Of its candidate, sorted by name."""
        return tuple(sorted(self.candidate.knobs.items()))


@dataclass(frozen=True)
class Cell:
    """One run of one candidate.

    Attributes:
        problem: name of the space.
        key: of the candidate.
        repeat: counted from 1.
        frames: captured; 0: as many as the space's runs have.
    """

    problem: str
    key: str
    repeat: int
    frames: int = 0

    @property
    def id(self) -> str:
        """``<problem>/<key>/r<repeat>``; with other frames than usual ``/r<repeat>f<frames>``."""
        return f"{self.problem}/{self.key}/r{self.repeat}" + (f"f{self.frames}" if self.frames else "")

    @property
    def run_id(self) -> str:
        """Its folder's name, and its run's on the hosts; different for different cells."""
        plain = self.id.replace("/", "_").replace(",", "-")
        if _PLAIN.fullmatch(plain) and len(plain) <= _LONGEST_RUN_ID:
            return plain
        told_apart = f"-{digest(self.id)}_r{self.repeat}"
        return re.sub(r"[^A-Za-z0-9_.-]", "-", plain)[: _LONGEST_RUN_ID - len(told_apart)] + told_apart


@dataclass(frozen=True)
class Space:
    """One problem: a model under a condition.

    Attributes:
        id: its name, different for different problems.
        model: name of the model.
        condition: name of the condition.
        experiment: with this model, its cuts found, and this condition's testbed.
        configuration: one of the experiment's.
        opened: the model.
        sliced: every cut looked up in it.
        frames: that a run captures.
        variants: by the candidate's key, in the order of the file and along the model.
    """

    id: str
    model: str
    condition: str
    experiment: Experiment
    configuration: Configuration
    opened: OpenedModel
    sliced: SlicedModel
    frames: int
    variants: Mapping[str, Variant]

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Of every variant."""
        return tuple(variant.candidate for variant in self.variants.values())

    @property
    def parts(self) -> frozenset[str]:
        """Which parts of the testbed its conditions change."""
        search = self.experiment.search
        return frozenset({"network"}) if search is None else search.parts

    def experiment_of(self, cell: Cell) -> Experiment:
        """The experiment as a cell runs it: its candidate's codec and hosts, and the pictures of its repeat."""
        variant, experiment = self.variants[cell.key], self.experiment
        source = experiment.source
        return replace(
            self.experiment_at(variant.knobs),
            pipeline=replace(experiment.pipeline, codec=variant.codec),
            source=replace(source, seed=(source.seed + cell.repeat - 1) % (MAX_SEED + 1)),
        )

    def experiment_at(self, knobs: Knobs) -> Experiment:
        """The experiment on hosts whose knobs have these values."""
        return replace(self.experiment, testbed=with_knobs(self.experiment.testbed, dict(knobs)))

    def run_of(self, cell: Cell) -> PlannedRun:
        """A cell as a run of the experiment."""
        variant = self.variants[cell.key]
        frames = cell.frames or self.frames
        return PlannedRun(
            cell.run_id, self.configuration, variant.cut, cell.repeat, frames, variant.placement, variant.apart
        )

    def every_run(self) -> tuple[PlannedRun, ...]:
        """One run of each candidate."""
        return tuple(self.run_of(Cell(self.id, key, 1)) for key in self.variants)


def limited_testbed(spaces: Sequence[Space]) -> Testbed | None:
    """Every host as the first of the conditions and knobs has it that limits its workload; None where none does.

    For what must be there before any of them is set: the control groups in which agents are started.
    """
    if not any("workload" in space.parts for space in spaces):
        return None
    testbeds = [
        space.experiment_at(knobs).testbed
        for space in spaces
        for knobs in dict.fromkeys(variant.knobs for variant in space.variants.values())
    ]
    limited = [host for testbed in testbeds for host in testbed.hosts if workload_wish(host)]
    first = {host.name: host for host in reversed(limited)}
    own = testbeds[0]
    return replace(own, hosts=tuple(first.get(host.name, host) for host in own.hosts))


def space_of(  # noqa: PLR0913 - a space has so many sides
    experiment: Experiment,
    search: Search,
    opened: OpenedModel,
    sliced: SlicedModel,
    *,
    model: str,
    condition: str,
    configuration: Configuration,
    frames: int | None = None,
) -> Space:
    """Every candidate of a model under a condition.

    Args:
        experiment: with the model and the condition's testbed; its cuts are found.
        search: names codecs and knobs.
        opened: the model.
        sliced: the experiment's cuts in it.
        model: name of the model.
        condition: name of the condition.
        configuration: one of the experiment's; the space's has the condition's name.
        frames: of every run instead of the experiment's.

    Raises:
        SpecError: two candidates are the same.
    """
    variants: dict[str, Variant] = {}
    every = experiment.every_placement
    models = [model] if len(search.models) > 1 else []
    measure = _Measure(experiment, configuration, opened, sliced)
    for placement, codec, knobs in itertools.product(every, search.codecs, _settings(search)):
        for cut in placement.cuts:
            where = f"{placement.name}:" * (len(every) > 1) + (",".join(map(str, cut.points)) or WHOLE)
            words = [codec.value] if len(search.codecs) > 1 else []
            words += [f"{name}={value:g}" if isinstance(value, float) else f"{name}={value}" for name, value in knobs]
            candidate = Candidate(
                key="/".join((where, *words)),
                cut=tuple(map(str, cut.points)),
                hosts=placement.slices,
                places=measure.places(cut),
                placement=placement.name,
                codec=codec.value,
                knobs=MappingProxyType(dict(knobs)),
                boundaries=tuple(measure.boundaries(placement, cut, codec)),
                flops=measure.flops(cut),
            )
            if candidate.key in variants:
                raise SpecError(f"candidate {candidate.key} occurs twice", where=cut.place, mend="name each cut once")
            variants[candidate.key] = Variant(candidate, placement, cut, codec, (*models, *words))
    return Space(
        id=f"{model}-{condition}",
        model=model,
        condition=condition,
        experiment=replace(experiment, configurations=(replace(configuration, name=condition),)),
        configuration=replace(configuration, name=condition),
        opened=opened,
        sliced=sliced,
        frames=experiment.frames if frames is None else frames,
        variants=MappingProxyType(variants),
    )


def conditions_of(experiment: Experiment, search: Search) -> dict[str, tuple[Experiment, Configuration]]:
    """Every condition by name: the experiment on each of the search's testbeds, in each of its configurations.

    A testbed names the condition; where there are several configurations, theirs follows, and it is theirs alone where
    there is one testbed.
    """
    found = {}
    for (name, testbed), configuration in itertools.product(search.testbeds.items(), experiment.configurations):
        several = (name, configuration.name) if len(search.testbeds) > 1 else (configuration.name,)
        title = "-".join(several) if len(experiment.configurations) > 1 else name
        found[title] = (replace(experiment, testbed=testbed), configuration)
    return found


def makers_of(opened: OpenedModel) -> dict[str, int]:
    """By tensor: the operator that makes it, counted from 1 along the model."""
    operators = enumerate(opened.graph.operators, start=1)
    return {tensor.name: number for number, operator in operators for tensor in operator.outputs}


def _settings(search: Search) -> tuple[Knobs, ...]:
    """Every combination of the values of knobs; one empty one without any."""
    names = sorted(search.knobs)
    values = [search.knobs[name] for name in names]
    return tuple(tuple(zip(names, each, strict=True)) for each in itertools.product(*values))


@dataclass(frozen=True)
class _Measure:
    """Sizes, places and work in a model's graph, and the links of a condition."""

    experiment: Experiment
    configuration: Configuration
    opened: OpenedModel
    sliced: SlicedModel

    def places(self, cut: Cut) -> tuple[int, ...]:
        """Operators before each split point."""
        points = self.sliced.boundaries[cut][1:-1]
        return tuple(max(self._maker[name] for name in names) for names in points)

    def flops(self, cut: Cut) -> tuple[int, ...]:
        """Of each slice for one frame."""
        ends = (0, *self.places(cut), len(self._flops_before) - 1)
        batch = self.experiment.source.batch_size
        return tuple(batch * (self._flops_before[end] - self._flops_before[begin]) for begin, end in pairwise(ends))

    def boundaries(self, placement: Placement, cut: Cut, codec: Codec) -> Iterator[Boundary]:
        """What crosses each link of the chain."""
        experiment = self.experiment
        testbed = self.configuration.asked_of(experiment.testbed, experiment.pairs)
        layout = lay_out(placement, experiment.chain[0], self.sliced.heads_of(cut))
        carried: Sequence[str] | None = None if experiment.source.images.are_pictures else self.sliced.feeds
        for here, there in pairwise(layout):
            carried = self._after(here, cut, carried)
            size = self._pictures() if carried is None else self._tensors(carried)
            # Pictures are whole numbers, which lossy codecs leave as they are.
            sent = size if carried is None else self._tensors(carried, codec)
            link = testbed.link(here.host, there.host)
            rates = [testbed.host(here.host).uplink_bit_per_s]
            rates += [] if link is None else [link.direction(here.host).rate_bit_per_s]
            known = [rate for rate in rates if rate is not None]
            rtt_us = 0 if link is None else link.asked.rtt_us
            ratio = sent / size if size else 1.0
            yield Boundary(here.host, there.host, size, min(known, default=0), rtt_us / 1e6, ratio)

    def _after(self, here: HostStages, cut: Cut, carried: Sequence[str] | None) -> Sequence[str] | None:
        """What a host hands on of what it was handed: tensors by name; None stands for pictures."""
        for stage in here.stages:
            if stage.kind is StageKind.TRANSFORMER:
                carried = self.sliced.feeds
            elif stage.kind is StageKind.SLICE:
                carried = self.sliced.boundaries[cut][(stage.tier or 0) + 1]
        return carried

    def _pictures(self) -> int:
        """Bytes of a frame of pictures; 0 where only the film itself knows its size."""
        source = self.experiment.source
        return source.batch_size * source.height * source.width * _COLOURS

    def _tensors(self, names: Sequence[str], codec: Codec = Codec.RAW) -> int:
        """Bytes of a frame's tensors as a lossy codec writes them, with another raw; without those of unknown size."""
        batch, ratios = self.experiment.source.batch_size, SHRUNK.get(codec, {})
        return round(
            sum(
                (tensor.bytes_per_frame or 0)
                * (batch if tensor.shape and tensor.shape[0] is None else 1)
                * ratios.get(tensor.dtype, 1)
                for tensor in map(self._known.__getitem__, names)
            )
        )

    @cached_property
    def _known(self) -> dict[str, Tensor]:
        return self.opened.graph.tensors()

    @cached_property
    def _flops_before(self) -> list[int]:
        """Of the operators before each place, from none to all."""
        return [0, *itertools.accumulate(operator.flops for operator in self.opened.graph.operators)]

    @cached_property
    def _maker(self) -> dict[str, int]:
        return makers_of(self.opened)
