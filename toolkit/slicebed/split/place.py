"""Where the operators of a model should run, on two hosts with a link between them, from the profiles of both."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError
from slicebed.split.model import tensor_to_plain
from slicebed_agent.model.cuts.mincut import Tiers, best_partition, evaluate
from slicebed_agent.model.cuts.points import origins
from slicebed_agent.model.profile.record import read_profile

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slicebed.split.model import OpenedModel
    from slicebed_agent.model.cuts.mincut import Partition
    from slicebed_agent.model.graph import SplitPoint, Tensor
    from slicebed_agent.model.profile.record import OperatorTimes, Profile


@dataclass(frozen=True)
class Link:
    """Between the near host and the far one.

    Attributes:
        rate_bit_per_s: above 0.
        rtt_us: round trip, 0 or more; it is paid once by whatever uses the link, for an answer comes back.
    """

    rate_bit_per_s: int
    rtt_us: int = 0

    def check(self) -> None:
        """Refuse a link that cannot be.

        Raises:
            SpecError: it carries nothing, or answers before it is asked.
        """
        if self.rate_bit_per_s <= 0:
            raise SpecError(f"a rate of {self.rate_bit_per_s} bit/s", where="--rate", mend="give one above 0")
        if self.rtt_us < 0:
            raise SpecError(f"a round trip of {self.rtt_us} us", where="--rtt", mend="give 0 or more")


@dataclass(frozen=True)
class Host:
    """What one host takes.

    Attributes:
        profile: file that tells it.
        whole_s: of the whole model, as it was measured without tracing.
        stretch: what the medians of its operators were multiplied by, so that their sum is `whole_s`; near 1 is good.
        scale: what a host that nobody measured takes of the time of the one in `profile`; 1 for that one itself.
        times_s: of each operator, by its name, stretched and scaled.
        together: operators that one kernel does.
    """

    profile: Path
    whole_s: float
    stretch: float
    scale: float
    times_s: Mapping[str, float]
    together: tuple[frozenset[str], ...]

    def scaled(self, scale: float) -> Host:
        """A host that takes so much of this one's time.

        Raises:
            SpecError: that is not a number above 0.
        """
        if not 0 < scale < float("inf"):
            raise SpecError(f"scale {scale}", where="--far-scale", mend="0.25 is four times as fast as the near host")
        times = {name: spent * scale for name, spent in self.times_s.items()}
        return replace(self, whole_s=self.whole_s * scale, scale=scale, times_s=times)

    def to_plain(self) -> dict[str, Any]:
        """As ``slicebed model place --json`` prints it."""
        return {
            "profile": str(self.profile),
            "scale": self.scale,
            "whole_s": self.whole_s,
            "stretch": self.stretch,
        }


@dataclass(frozen=True)
class Option:
    """One way to place the model, with the time that it is predicted to take for one frame.

    Attributes:
        near: names of the operators at the near host, in the graph's order; the inputs are always among them.
        far: names of the others.
        tensors: what crosses.
        near_s: of the operators at the near host.
        link_s: from sending the tensors to the answer's arrival, less what the far host takes.
        far_s: of the operators at the far host.
        split_point: of these tensors; None where there is none, as where all is near or far.
    """

    near: tuple[str, ...]
    far: tuple[str, ...]
    tensors: tuple[Tensor, ...]
    near_s: float
    link_s: float
    far_s: float
    split_point: SplitPoint | None

    @property
    def time_s(self) -> float:
        """Of all three, one after the other."""
        return self.near_s + self.link_s + self.far_s

    @property
    def bytes_per_frame(self) -> int:
        """What crosses, raw."""
        return sum(tensor.bytes_per_frame or 0 for tensor in self.tensors)

    def to_plain(self) -> dict[str, Any]:
        """As ``slicebed model place --json`` prints it; without the names of the operators, which may be thousands."""
        return {
            "time_s": self.time_s,
            "near_s": self.near_s,
            "link_s": self.link_s,
            "far_s": self.far_s,
            "bytes_per_frame": self.bytes_per_frame,
            "split_point": None if self.split_point is None else self.split_point.name,
            "tensors": [tensor_to_plain(tensor) for tensor in self.tensors],
            "operators_near": len(self.near),
            "operators_far": len(self.far),
        }


@dataclass(frozen=True)
class Placement:
    """The answer.

    Attributes:
        best: of all placements in which nothing at the far host feeds the near one.
        single: the best of the split points that one tensor crosses, whatever is better; None where there is none.
        all_near: nothing is sent.
        all_far: the frame is sent as it is.
    """

    best: Option
    single: Option | None
    all_near: Option
    all_far: Option

    def to_plain(self) -> dict[str, Any]:
        """As ``slicebed model place --json`` prints it."""
        return {
            "best": {**self.best.to_plain(), "near": list(self.best.near), "far": list(self.best.far)},
            "single": None if self.single is None else self.single.to_plain(),
            "all_near": self.all_near.to_plain(),
            "all_far": self.all_far.to_plain(),
        }


def read_host(opened: OpenedModel, path: Path) -> Host:
    """What a host takes for a model, from its profile.

    Args:
        opened: the model.
        path: of a profile of it, with operators.

    Raises:
        AgentConfigError: the file cannot be read, or is no profile.
        SpecError: it is a profile of another model, of several frames at a time, without operators or without times.
    """
    profile = read_profile(path)
    operators = _usable(opened, profile, path)
    total_s = sum(row.time_s.median for row in operators.rows)
    if not (total_s > 0 and 0 < profile.whole.time_s.median < float("inf")):
        raise SpecError("the profile's times are not above 0", where=str(path), mend="profile the model again")
    stretch = profile.whole.time_s.median / total_s
    members: dict[str, set[str]] = defaultdict(set)
    for row in operators.rows:
        if row.kernel is not None:
            members[row.kernel].update((row.kernel, row.name))
    return Host(
        profile=path,
        whole_s=profile.whole.time_s.median,
        stretch=stretch,
        scale=1.0,
        times_s={row.name: row.time_s.median * stretch for row in operators.rows},
        together=tuple(frozenset(names) for names in members.values() if len(names) > 1),
    )


def place(opened: OpenedModel, near: Host, far: Host, link: Link) -> Placement:
    """The best placement on two hosts, by minimum cut, and what is to be compared with it.

    Args:
        opened: the model.
        near: where frames come from and answers are wanted.
        far: at the other end of the link.
        link: between them.

    Raises:
        SpecError: the link cannot be.
        AgentConfigError: a profile lacks an operator or names one that is not there, or a tensor's size is not known.
    """
    link.check()
    graph = opened.graph
    tiers = Tiers(
        first_s=near.times_s,
        second_s=far.times_s,
        bandwidth_byte_per_s=link.rate_bit_per_s / 8,
        latency_s=link.rtt_us / 1e6,
        together=near.together + far.together,
    )
    best = _option(opened, tiers, best_partition(graph, tiers))
    order = [operator.name for operator in graph.operators]
    singles = []
    for point in opened.split_points():
        first = frozenset(order[: point.position])
        # Where a kernel would be taken apart, nobody has measured what the parts take.
        if all(group <= first or not group & first for group in tiers.together):
            singles.append(_option(opened, tiers, evaluate(graph, tiers, first), point))
    fed = frozenset(name.rpartition(":")[0] for name in graph.inputs)
    return Placement(
        best=best,
        single=min(singles, key=lambda each: each.time_s, default=None),
        all_near=_option(opened, tiers, evaluate(graph, tiers, frozenset(order))),
        all_far=_option(opened, tiers, evaluate(graph, tiers, fed)),
    )


def _usable(opened: OpenedModel, profile: Profile, path: Path) -> OperatorTimes:
    here = opened.frozen.graph_sha256()
    if profile.graph_sha256 != here:
        raise SpecError(
            f"a profile of {profile.model} with weights {profile.weights} (graph {profile.graph_sha256[:12]}), not of"
            f" this {opened.name} with weights {opened.frozen.card.weights} (graph {here[:12]})",
            where=str(path),
            mend="profile the same model with the same options",
        )
    if profile.settings.batch != 1:
        raise SpecError(
            f"a profile of {profile.settings.batch} frames at a time",
            where=str(path),
            mend="profile again with --batch 1: what one frame takes is predicted",
        )
    if profile.operators is None:
        raise SpecError(
            "the profile has no times of operators",
            where=str(path),
            mend="profile again: slicebed-agent profile MODEL --operators",
        )
    return profile.operators


def _option(opened: OpenedModel, tiers: Tiers, found: Partition, point: SplitPoint | None = None) -> Option:
    near = tuple(each.name for each in opened.graph.operators if each.name in found.first)
    far = tuple(each.name for each in opened.graph.operators if each.name not in found.first)
    near_s = sum(tiers.first_s[name] for name in near)
    far_s = sum(tiers.second_s[name] for name in far)
    sent = sum(tensor.bytes_per_frame or 0 for tensor in found.crossing)
    link_s = tiers.latency_s + sent / tiers.bandwidth_byte_per_s if found.crossing else 0.0
    return Option(near, far, found.crossing, near_s, link_s, far_s, point or _point_of(opened, found.crossing))


def _point_of(opened: OpenedModel, crossing: tuple[Tensor, ...]) -> SplitPoint | None:
    """The split point that these tensors cross, aliases seen through."""
    if not crossing:
        return None
    origin = origins(opened.graph)
    sent = {origin[tensor.name] for tensor in crossing}
    points = opened.split_points(max_tensors=len(sent))
    return next((point for point in points if {tensor.name for tensor in point.tensors} == sent), None)
