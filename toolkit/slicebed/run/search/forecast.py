"""What every candidate of a problem will take, from profiles of its hosts and its links as asked and measured.

A candidate becomes a line, as `run.assignments` would tell it to the agents, in which

- a slice takes its share of the whole model's time (`HostProfile.slice_s`), and varies as the whole did; under a limit
  of processor time it takes what `quota` says of its processor time, held against the whole's measured time, and of the
  limit less what the agent needs itself;
- the transformer takes what it took in the profile, the classifier nothing that counts;
- a boundary is sent as many bytes as its codec made of it in the profile, and costs the sender and the receiver what it
  cost there; ``raw`` costs nothing, since arrays are sent from where they lie;
- a link delays as was asked, corrected by the measured round trip, and carries what was asked.
"""

from __future__ import annotations

import math
import statistics
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.run.assignments import queue_before, queue_of_sender
from slicebed.run.layout import lay_out
from slicebed.run.search.profile_record import ANSWER, INPUT, CodecCost
from slicebed.run.search.quota import limited_s
from slicebed.spec.pipeline import Drop, StageKind
from slicebed.spec.testbed import TcpMode
from slicebed.split.predict.line import Hop, Line, QueueModel, Source, Stage, Throttle
from slicebed.split.predict.predictor import Predictor
from slicebed.split.predict.times import NOTHING, Times
from slicebed.testbed.verify.expect import one_way_delay
from slicebed_agent.host.workload.plan import PERIOD_US
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed.run.layout import HostStages
    from slicebed.run.layout import Stage as PlacedStage
    from slicebed.run.search.profile_record import HostProfile
    from slicebed.run.search.profiles import Profiles
    from slicebed.spec.experiment import Configuration, Experiment
    from slicebed.spec.pipeline import Placement
    from slicebed.split.search.contracts import Boundary, Candidate, Foretold, Measure

_DROPS = {
    agent_pb2.QUEUE_POLICY_NEWEST: Drop.NEWEST,
    agent_pb2.QUEUE_POLICY_OLDEST: Drop.OLDEST,
    agent_pb2.QUEUE_POLICY_BLOCK: Drop.NEVER,
}
# What an agent needs itself while frames come, of the processor time that its slices share with it: of every second,
# and for each frame. docs/benchmarks.md (make bench-search) says where it was seen.
_AGENT_SHARE = 0.015
_AGENT_FRAME_S = 0.005
_PICTURES = ""
"""What crosses before the transformer; no split point has this name."""


@dataclass(frozen=True)
class Facts:
    """What else the runs of a problem have in common.

    Attributes:
        experiment: the problem's own: its model, and its testbed as the condition has it.
        configuration: of the experiment.
        frames: that a run captures.
    """

    experiment: Experiment
    configuration: Configuration
    frames: int

    def placement(self, candidate: Candidate) -> Placement:
        """The candidate's.

        Raises:
            SpecError: the experiment has none of this name.
        """
        for placement in self.experiment.every_placement:
            if placement.name == candidate.placement:
                return placement
        raise SpecError(f"candidate {candidate.key}: no placement {candidate.placement!r}")


@dataclass(frozen=True)
class LinkFacts:
    """A link in one direction.

    Attributes:
        rate_bit_per_s: what it is asked to carry; 0: nothing limits it.
        rtt_s: measured round trip, median.
        jitter_s: standard deviation of the round trip, as asked.
    """

    rate_bit_per_s: int
    rtt_s: float
    jitter_s: float = 0.0


def with_times(candidates: Sequence[Candidate], profiles: Profiles) -> tuple[Candidate, ...]:
    """The candidates with `compute_s` from the profiles, each slice as on a host that does nothing else meanwhile.

    Raises:
        SpecError: a host of a candidate has no profile under the candidate's knobs, or no such split point is in it.
    """
    return tuple(
        replace(
            candidate,
            compute_s=tuple(
                profiles.at(host, candidate.knobs).slice_s(*_ends(candidate, tier))
                for tier, host in enumerate(candidate.hosts)
            ),
        )
        for candidate in candidates
    )


def forecast(
    facts: Facts,
    candidates: Sequence[Candidate],
    profiles: Profiles,
    links: Mapping[tuple[str, str], LinkFacts],
) -> Callable[[Sequence[Measure]], Mapping[str, Foretold]]:
    """Predictions of every candidate, which take into account what was measured so far.

    Args:
        facts: of the problem.
        candidates: of the problem, with their boundaries.
        profiles: of every host that runs a slice or the transformer, or whose codec costs anything.
        links: by sender and receiver.

    Raises:
        SpecError: a codec's cost or a host's profile is not there; or as of `require_predictable` and `Line`.
    """
    lines = {candidate.key: line_of(facts, candidate, profiles, links) for candidate in candidates}
    source = facts.experiment.source
    return Predictor(lines, Source(source.rate_per_s, facts.frames)).foretell


def require_predictable(facts: Facts, candidate: Candidate) -> None:
    """Refuse a candidate of which profiles tell too little, which is known before there are any.

    Raises:
        SpecError: frames end early, or pictures cross a link in a codec that compresses.
    """
    if facts.experiment.pipeline.exits:
        what = "where frames end early is not predicted"
        raise SpecError(what, where="exits", mend="search without exits, or by a method that needs no prediction")
    compresses = Codec(candidate.codec) in {Codec.LOSSLESS, Codec.AUTO}
    # Whatever the camera's host does makes tensors of them.
    idle = not lay_out(facts.placement(candidate), facts.experiment.chain[0], {})[0].stages
    if compresses and idle and facts.experiment.source.images.are_pictures:
        what = f"what codec {candidate.codec} makes of pictures is not profiled"
        mend = "transform on the camera's host, or search by a method that needs no prediction"
        raise SpecError(what, where=f"candidate {candidate.key}", mend=mend)


def line_of(facts: Facts, candidate: Candidate, profiles: Profiles, links: Mapping[tuple[str, str], LinkFacts]) -> Line:
    """What a candidate's frames pass.

    Raises:
        SpecError: as of `forecast`.
    """
    require_predictable(facts, candidate)
    return _Walk(facts, candidate, profiles, links).line()


class _Walk:
    """Along a candidate's hosts, as a frame goes."""

    def __init__(
        self, facts: Facts, candidate: Candidate, profiles: Profiles, links: Mapping[tuple[str, str], LinkFacts]
    ) -> None:
        self._facts, self._candidate, self._profiles, self._links = facts, candidate, profiles, links
        self._experiment = facts.experiment
        self._layout = lay_out(facts.placement(candidate), self._experiment.chain[0], {})
        if len(candidate.boundaries) != len(self._layout) - 1:
            what = f"{len(candidate.boundaries)} boundaries between {len(self._layout)} hosts"
            raise SpecError(what, where=f"candidate {candidate.key}")
        self._carried = _PICTURES if self._experiment.source.images.are_pictures else INPUT
        # Frames come no sooner to a step than the slowest one before it lets them.
        self._interval_s = 1 / self._experiment.source.rate_per_s

    def line(self) -> Line:
        steps: list[Stage | Hop] = []
        for number, here in enumerate(self._layout):
            for place, stage in enumerate(here.stages):
                queue = _queue(queue_before(self._experiment, stage, first=place == 0, camera=number == 0))
                steps.append(self._stage(here, stage, queue))
            if number + 1 < len(self._layout):
                steps.append(self._hop(here, self._candidate.boundaries[number]))
        source = self._experiment.source
        return Line(tuple(steps), QueueModel(source.queue_frames, source.drop))

    def _stage(self, here: HostStages, stage: PlacedStage, queue: QueueModel) -> Stage:
        time, overhead_ratio, throttle = NOTHING, 0.0, None
        if stage.kind is StageKind.SLICE:
            profile = self._profile(here.host)
            first, last = _ends(self._candidate, stage.tier or 0)
            time = slice_times(profile, first, last, self._interval_s)
            throttle = throttle_of(profile)
            overhead_ratio = self._facts.configuration.hosts[here.host].overhead_ratio
            self._carried = ANSWER if last is None else last
        elif stage.kind is StageKind.TRANSFORMER:
            time = Times.fixed(self._transform_s(here.host))
            self._carried = INPUT
        self._interval_s = max(self._interval_s, time.median_s * (1 + overhead_ratio))
        return Stage(stage.name, here.host, time, queue, overhead_ratio, stage.kind, throttle)

    def _transform_s(self, host: str) -> float:
        profile = self._profile(host)
        if profile.transform_s is None:
            what = f"the profile of {host} was taken without pictures"
            raise SpecError(what, where="transformer", mend="profile it with the experiment's camera")
        return profile.transform_s

    def _hop(self, here: HostStages, boundary: Boundary) -> Hop:
        sender, receiver = boundary.sender, boundary.receiver
        known = self._links.get((sender, receiver))
        link = LinkFacts(boundary.rate_bit_per_s, boundary.rtt_s) if known is None else known
        delay_s, back_s, jitter_s, back_jitter_s = self._delays(sender, receiver, link)
        cost = self._cost(boundary, link.rate_bit_per_s)
        if link.rate_bit_per_s:
            self._interval_s = max(self._interval_s, cost.bytes * 8 / link.rate_bit_per_s)
        return Hop(
            sender,
            receiver,
            bytes=cost.bytes,
            rate_bit_per_s=link.rate_bit_per_s,
            delay_s=delay_s,
            jitter_s=jitter_s,
            back_delay_s=back_s,
            back_jitter_s=back_jitter_s,
            encode=Times.fixed(cost.encode_s),
            decode=Times.fixed(cost.decode_s),
            queue=_queue(queue_of_sender(self._experiment, behind_camera=not here.stages)),
            max_message_bytes=self._facts.configuration.hosts[sender].max_message_bytes,
            slow_restart=self._experiment.testbed.tcp is TcpMode.KERNEL,
        )

    def _delays(self, sender: str, receiver: str, link: LinkFacts) -> tuple[float, float, float, float]:
        """One way and back, and the deviation of each: as asked, and what was measured beyond that half each."""
        testbed = self._facts.configuration.asked_of(self._experiment.testbed, self._experiment.pairs)
        asked = testbed.link(sender, receiver)
        if asked is None:
            each_s, its_jitter_s = link.rtt_s / 2, link.jitter_s / math.sqrt(2)
            return each_s, each_s, its_jitter_s, its_jitter_s
        there, back = (one_way_delay(asked.direction(host)) for host in (sender, receiver))
        beyond_s = (link.rtt_s - (there.mean_us + back.mean_us) / 1e6) / 2
        there_s, back_s = (max(0.0, each.mean_us / 1e6 + beyond_s) for each in (there, back))
        return there_s, back_s, there.deviation_us / 1e6, back.deviation_us / 1e6

    def _cost(self, boundary: Boundary, rate_bit_per_s: int) -> CodecCost:
        codec, raw = Codec(self._candidate.codec), boundary.bytes_per_frame
        if codec is Codec.RAW:
            return CodecCost(codec.value, "", raw, 0.0, 0.0)
        if self._carried == _PICTURES:
            return self._pictures_cost(codec, boundary)
        if codec is Codec.AUTO:
            return self._auto_cost(boundary, rate_bit_per_s)
        return self._of_ends(codec, boundary, self._carried)[0]

    def _of_ends(self, codec: Codec, boundary: Boundary, point: str) -> tuple[CodecCost, ...]:
        """Written by the sender, read by the receiver: each as its own profile has it."""
        written = self._profile(boundary.sender).cost(point, codec.value)
        read = {row.filter: row for row in self._profile(boundary.receiver).cost(point, codec.value)}
        return tuple(replace(row, decode_s=read[row.filter].decode_s) for row in written)

    def _auto_cost(self, boundary: Boundary, rate_bit_per_s: int) -> CodecCost:
        """What the agent will pick: by the same rule from the same figures."""
        from slicebed_agent.codec import auto, lossless  # noqa: PLC0415 - pyarrow, for this codec alone

        rows = {row.filter: row for row in self._of_ends(Codec.AUTO, boundary, self._carried)}
        raw = boundary.bytes_per_frame
        filters = {each.name: each for each in (lossless.BITMAP, lossless.FULL)}
        measured = {
            filters[name]: auto.Measured(raw, row.bytes, row.encode_s, row.decode_s) for name, row in rows.items()
        }
        picked = auto.choose(measured, rate_bit_per_s).picked
        return CodecCost("raw", "", raw, 0.0, 0.0) if picked is None else rows[picked.name]

    def _pictures_cost(self, codec: Codec, boundary: Boundary) -> CodecCost:
        """Pictures are bytes: lossy codecs leave them, and a TensorProto is a copy, which costs what copies cost."""
        raw = boundary.bytes_per_frame
        if codec is not Codec.TENSOR_PROTO:
            return CodecCost(codec.value, "", raw, 0.0, 0.0)
        (row,) = self._of_ends(codec, boundary, INPUT)
        scale = raw / max(1, self._profile(boundary.sender).points[INPUT].bytes)
        return CodecCost(codec.value, "", raw, row.encode_s * scale, row.decode_s * scale)

    def _profile(self, host: str) -> HostProfile:
        return self._profiles.at(host, self._candidate.knobs)


def slice_times(profile: HostProfile, first: str | None, last: str | None, interval_s: float) -> Times:
    """What the slice between two split points takes on a host, frame by frame.

    Args:
        profile: of the host.
        first: split point that it begins at; None: the model's input.
        last: split point that it ends at; None: the answer.
        interval_s: in which frames come.

    Raises:
        SpecError: there is no such split point in the profile.
    """
    quota, cpu_s = profile.limits.cpu_quota, profile.slice_cpu_s(first, last)
    if quota is None or not cpu_s:
        return Times.like(profile.slice_s(first, last), profile.whole_s)
    whole_cpu_s = statistics.median(profile.whole_cpu_s)
    limit = (_width(profile), quota, _period_s(profile))
    # Whatever else the limit is shared with, or the model leaves out, was there when the whole was measured.
    scale = statistics.median(profile.whole_s) / statistics.median(limited_s(whole_cpu_s, *limit))
    width, _, period_s = limit
    left = quota if not interval_s else max(quota / 2, quota - _AGENT_SHARE - _AGENT_FRAME_S / interval_s)
    return Times.of([spent * scale for spent in limited_s(cpu_s, width, left, period_s, interval_s)])


def throttle_of(profile: HostProfile) -> Throttle | None:
    """How a host's limit of processor time holds up what it computes; None: not at all."""
    quota, width = profile.limits.cpu_quota, _width(profile)
    return None if quota is None or quota >= width else Throttle(quota / width, _period_s(profile))


def _width(profile: HostProfile) -> float:
    """How many cores the model keeps busy while it is computed."""
    cpu_s = statistics.median(profile.whole_cpu_s)
    return min(float(profile.facts.cores), max(1.0, cpu_s / profile.kernels_s if profile.kernels_s else 1.0))


def _period_s(profile: HostProfile) -> float:
    return (profile.limits.cpu_period_us or PERIOD_US) / 1e6


def _ends(candidate: Candidate, tier: int) -> tuple[str | None, str | None]:
    """The split points that a slice lies between, the slices counted from 0; None at the model's ends."""
    ends = [None, *candidate.cut, None]
    return list(pairwise(ends))[tier]


def _queue(message: agent_pb2.QueueConfig) -> QueueModel:
    return QueueModel(message.places, _DROPS[message.policy], message.messages)
