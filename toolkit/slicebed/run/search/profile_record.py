"""What a host's profile of a model says, as dataclasses and as the JSON that a campaign keeps."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError
from slicebed.split.search.contracts import Figure

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slicebed.spec.testbed import Host

FORMAT = 1
"""Changes when a field changes its meaning or goes; new ones may come without."""
INPUT, ANSWER = "^input", "^answer"
"""Stand beside the names of split points for what the whole model is fed, and what it answers."""
_PROFILE_AGAIN = "remove the file, and the host is profiled again"


@dataclass(frozen=True)
class Limits:
    """The condition of a host's workload and processor, as it was asked for and applied; None: the machine's own.

    Attributes:
        cores: how many cores it may use.
        cpu_quota: processor time per second of time.
        cpu_period_us: over what time that is counted.
        memory_bytes: that it may use.
        frequency_khz: of its cores.
        cpu_min_khz: their lowest frequency.
        cpu_max_khz: their highest frequency.
        governor: the cpufreq governor.
        boost: whether turbo frequencies are allowed.
        smt: whether simultaneous multithreading is on.
        online_cores: cores left online.
    """

    cores: int | None = None
    cpu_quota: float | None = None
    cpu_period_us: int | None = None
    memory_bytes: int | None = None
    frequency_khz: int | None = None
    cpu_min_khz: int | None = None
    cpu_max_khz: int | None = None
    governor: str | None = None
    boost: bool | None = None
    smt: bool | None = None
    online_cores: int | None = None

    @classmethod
    def of(cls, host: Host) -> Limits:
        """Those of a testbed's host."""
        return cls(
            cores=None if host.cores is None else len(host.cores),
            cpu_quota=host.cpu_quota,
            cpu_period_us=host.cpu_period_us,
            memory_bytes=host.memory_bytes,
            frequency_khz=host.cpu_frequency_khz,
            cpu_min_khz=host.cpu_min_khz,
            cpu_max_khz=host.cpu_max_khz,
            governor=host.governor,
            boost=host.boost,
            smt=host.smt,
            online_cores=host.online_cores,
        )


@dataclass(frozen=True)
class HostFacts:
    """What an agent says of its host and itself: by these a profile is known to be of the same."""

    hostname: str
    processor: str
    cores: int
    tensorflow: str
    agent: str


@dataclass(frozen=True)
class CodecCost:
    """What a codec does to one boundary on this host; see CodecTimes in timing.proto."""

    codec: str
    filter: str
    bytes: int
    encode_s: float
    decode_s: float


@dataclass(frozen=True)
class PointTimes:
    """One split point.

    Attributes:
        tensors: that cross.
        before: share of the whole's time that a slice up to here takes.
        after: share that one from here on takes.
        bytes: raw, of the batch; 0 where no codec was asked for.
        codecs: those that were asked for.
    """

    tensors: tuple[str, ...]
    before: Figure
    after: Figure
    bytes: int = 0
    codecs: tuple[CodecCost, ...] = ()


@dataclass(frozen=True)
class HostProfile:
    """A model on a host under one condition.

    Attributes:
        model: its name.
        sha256: of its frozen graph.
        batch: frames at a time.
        host: name of the testbed's host.
        condition: name of the condition.
        limits: of the host.
        facts: of the host.
        shown: what the model was fed: ``camera``, ``synthetic`` pictures in the place of a film that the host does not
            have, each with digits that tell it from others; or ``seeded`` values.
        whole_s: of the whole model, one a round.
        whole_cpu_s: processor time in these.
        call_s: of a call that computes nothing.
        kernels_s: sum of the kernels, each as short as it ever was.
        transform_s: of the transformer; None where there was nothing to transform.
        points: by their names, besides `INPUT` and `ANSWER`.
        testbed_s: how long the host was used for it, 0 when it was found.
        measured_on: host where it was measured, if it is shared between two that are alike; empty: here.
    """

    model: str
    sha256: str
    batch: int
    host: str
    condition: str
    limits: Limits
    facts: HostFacts
    shown: str
    whole_s: tuple[float, ...]
    whole_cpu_s: tuple[float, ...]
    call_s: float
    kernels_s: float
    transform_s: float | None
    points: Mapping[str, PointTimes]
    testbed_s: float = 0.0
    measured_on: str = ""

    def share(self, first: str | None, last: str | None) -> float:
        """Of the whole's time, what the slice between two split points takes; None stands for an end of the model.

        What cutting costs lies in both sides' shares, so a slice between two cuts has both costs.

        Raises:
            SpecError: there is no such split point in the profile.
        """
        behind = 1.0 if first is None else self._point(first).after.value
        ahead = 1.0 if last is None else self._point(last).before.value
        return max(0.0, behind + ahead - 1.0)

    def slice_s(self, first: str | None, last: str | None) -> float:
        """Median of the slice between two split points, one run after the other.

        Raises:
            SpecError: there is no such split point in the profile.
        """
        return self._of_slice(self.share(first, last), statistics.median(self.whole_s))

    def slice_cpu_s(self, first: str | None, last: str | None) -> float:
        """The same in processor time.

        Raises:
            SpecError: there is no such split point in the profile.
        """
        return self._of_slice(self.share(first, last), statistics.median(self.whole_cpu_s))

    def cost(self, point: str, codec: str) -> tuple[CodecCost, ...]:
        """What a codec does at a split point; of ``auto`` all that it may pick.

        Raises:
            SpecError: the profile does not hold it.
        """
        found = tuple(row for row in self._point(point).codecs if row.codec == codec)
        if not found:
            what = f"what codec {codec} costs at {point} was not measured"
            raise SpecError(what, where=f"profile of {self.model} on {self.host}", mend=_PROFILE_AGAIN)
        return found

    def _of_slice(self, share: float, whole_s: float) -> float:
        """A slice that computes nothing hands on what it is given."""
        return share * max(0.0, whole_s - self.call_s) + self.call_s if share else 0.0

    def _point(self, name: str) -> PointTimes:
        found = self.points.get(name)
        if found is None:
            where = f"profile of {self.model} on {self.host}"
            raise SpecError(f"no split point {name} in it", where=where, mend=_PROFILE_AGAIN)
        return found

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it: every field by its name here, and ``format``."""
        plain = {each.name: getattr(self, each.name) for each in fields(self)}
        nested = {"limits": asdict(self.limits), "facts": asdict(self.facts)}
        return {"format": FORMAT, **plain, **nested, "points": {name: asdict(at) for name, at in self.points.items()}}

    @classmethod
    def from_plain(cls, row: Mapping[str, Any]) -> HostProfile:
        """From what `to_plain` gave.

        Raises:
            ValueError, KeyError, TypeError: it is none of this format.
        """
        if row["format"] != FORMAT:
            raise ValueError(f"format {row['format']!r}, this version reads {FORMAT}")
        known = {each.name: row[each.name] for each in fields(cls)}
        known |= {name: tuple(float(each) for each in known[name]) for name in ("whole_s", "whole_cpu_s")}
        if not known["whole_s"] or len(known["whole_s"]) != len(known["whole_cpu_s"]):
            raise ValueError("no rounds, or not as many of both times")
        known["limits"] = Limits(**_pick(Limits, row["limits"]))
        known["facts"] = HostFacts(**_pick(HostFacts, row["facts"]))
        known["points"] = MappingProxyType({str(name): _read_point(at) for name, at in row["points"].items()})
        return cls(**known)


def read_profile(path: Path) -> HostProfile:
    """A profile from its file.

    Raises:
        SpecError: it cannot be read, or is none.
    """
    try:
        return HostProfile.from_plain(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        what = f"not a host's profile: {type(error).__name__}: {error}"
        raise SpecError(what, where=str(path), mend=_PROFILE_AGAIN) from error


def _read_point(row: Mapping[str, Any]) -> PointTimes:
    return PointTimes(
        tensors=tuple(row["tensors"]),
        before=Figure(**_pick(Figure, row["before"])),
        after=Figure(**_pick(Figure, row["after"])),
        bytes=int(row["bytes"]),
        codecs=tuple(CodecCost(**_pick(CodecCost, each)) for each in row["codecs"]),
    )


def _pick(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    """The fields that a dataclass has, all of them; what a later version added is left out."""
    return {each.name: row[each.name] for each in fields(kind)}
