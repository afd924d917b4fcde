"""--adapt on a running stream: what the figures say goes into `adapt`, and what it decides is told with its reasons."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Self

from slicebed.run.layout import lay_out
from slicebed.run.stream.adapt import Candidate, Decision, LinkState, Measured, Verdict, changed, decide
from slicebed.spec.pipeline import StageKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.run.sliced_model import SlicedModel
    from slicebed.run.stream.figures import HostFigures, StreamFigures
    from slicebed.run.stream.timeline import Timeline
    from slicebed.run.stream.wanted import WantedStream
    from slicebed.spec.cuts import Cut
    from slicebed.spec.pipeline import Placement
    from slicebed.split.model import OpenedModel

_EVERY_S: Final = 2.0


class Chooser:
    """Considers the candidates every two seconds."""

    def __init__(
        self,
        cuts: Mapping[str, Cut],
        candidates: Mapping[str, Candidate],
        spots: tuple[tuple[str, str], ...],
        timeline: Timeline,
    ) -> None:
        """Begin now.

        Args:
            cuts: by label.
            candidates: the same cuts in figures.
            spots: host and stage name of every slice.
            timeline: told what is decided, whenever it is another decision than before.
        """
        self._cuts, self._candidates, self._spots, self._timeline = cuts, dict(candidates), spots, timeline
        self._patience = changed(time.monotonic())
        self._considered_s = time.monotonic()
        self._told: tuple[Verdict, str] | None = None

    @classmethod
    def of(cls, opened: OpenedModel, model: SlicedModel, wanted: WantedStream, timeline: Timeline) -> Self:
        """Of a stream with candidates."""
        cuts = {cut.label: cut for cut in wanted.candidates}
        batch = wanted.experiment.source.batch_size
        candidates = {label: candidate_of(opened, model, cut, batch) for label, cut in cuts.items()}
        return cls(cuts, candidates, spots_of(wanted.placement, wanted.experiment.chain[0]), timeline)

    def consider(self, figures: StreamFigures, current: Cut) -> Cut | None:
        """Give the cut to change to, if there is one now.

        Args:
            figures: of the last interval.
            current: the cut in use.
        """
        now_s = time.monotonic()
        if now_s - self._considered_s < _EVERY_S or current.label not in self._candidates:
            return None
        measured = measured_of(figures, self._spots)
        if measured is None:
            return None
        self._considered_s = now_s
        decision, self._patience = decide(self._candidates, current.label, measured, self._patience, now_s)
        self._tell(decision)
        return self._cuts[decision.cut] if decision.verdict is Verdict.SWITCH else None

    def changed(self) -> None:
        """The cut has just been changed, by whomever."""
        self._patience = changed(time.monotonic(), self._patience)
        self._told = None

    def _tell(self, decision: Decision) -> None:
        said = (decision.verdict, decision.cut)
        if said != self._told:
            self._timeline.note(
                f"adapt: {decision.verdict.value}",
                cut=decision.cut,
                reason=decision.reason,
                predicted_ms=dict(decision.predicted_ms),
            )
        self._told = said


def candidate_of(opened: OpenedModel, model: SlicedModel, cut: Cut, batch_size: int) -> Candidate:
    """A cut's bytes and work, for frames of so many images."""
    boundaries = model.boundaries[cut][1:-1]
    most = max((len(names) for names in boundaries), default=1)
    points = {frozenset(each.name for each in point.tensors): point for point in opened.split_points(max_tensors=most)}
    found = [points[frozenset(names)] for names in boundaries]
    before = [0, *(point.flops_before for point in found), opened.graph.flops]
    return Candidate(
        cut.label,
        tuple(batch_size * (point.bytes_per_frame or 0) for point in found),
        tuple(batch_size * (after - begun) for begun, after in pairwise(before)),
    )


def spots_of(placement: Placement, camera: str) -> tuple[tuple[str, str], ...]:
    """Host and name of the stage that runs each slice."""
    by_tier = {
        stage.tier: (each.host, stage.name)
        for each in lay_out(placement, camera, {})
        for stage in each.stages
        if stage.kind is StageKind.SLICE
    }
    return tuple(by_tier[tier] for tier in range(len(placement.slices)))


def measured_of(figures: StreamFigures, spots: tuple[tuple[str, str], ...]) -> Measured | None:
    """What the figures say of slices and of the links between them; None where some slice saw no frame."""
    hosts = {each.host: each for each in figures.hosts}
    compute_s = []
    for host, name in spots:
        stage = next((each for each in hosts[host].stages if each.name == name), None)
        if stage is None or stage.compute_ms is None:
            return None
        compute_s.append(stage.compute_ms / 1000)
    links = tuple(None if host == after else _link_of(hosts[host]) for (host, _), (after, _) in pairwise(spots))
    return Measured(links, tuple(compute_s))


def _link_of(figures: HostFigures) -> LinkState | None:
    link = figures.link
    if link is None:
        return None
    ratio = link.bytes_after / link.bytes_before if link.bytes_before and link.bytes_after else 1.0
    return LinkState(link.round_trip_ms / 1000, link.rate_bit_per_s, ratio)
