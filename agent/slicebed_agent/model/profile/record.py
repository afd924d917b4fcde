"""What a profile says, as dataclasses and as JSON that stays readable: a predictor reads it on another machine.

In JSON every field has the name that it has here, numbers of time are seconds, and ``format`` tells the layout: it
changes when a field changes its meaning or goes; new fields may come without.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.profile.statistics import Estimate

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class ProcessMemory:
    """What a process of its own holds that loads this part as a published slice and runs it.

    Attributes:
        weights_bytes: of its weights.
        resident_bytes: when it has run.
        anonymous_bytes: of those, what is its own alone; the rest are pages of files, TensorFlow's above all.
        peak_bytes: the most that was ever resident, loading TensorFlow included.
    """

    weights_bytes: int
    resident_bytes: int
    anonymous_bytes: int
    peak_bytes: int


@dataclass(frozen=True)
class Segment:
    """A part of the model between two neighbouring boundaries, or the whole.

    Attributes:
        name: of the split point at its end; of the last part and of the whole, the operator that ends the model.
        operators: names, in the graph's order.
        feeds: names of the tensors that enter.
        fetches: names of those that leave.
        flops: for one frame.
        parameters: weights that it uses; one that several segments use counts in each.
        weights_bytes: of the constants above 4 KiB that it holds when it is prepared.
        fetched_bytes: of all frames of the batch, raw.
        time_s: of one run of the batch.
        samples_s: one per round; the n-th of every segment and of the whole are of the same round.
        memory: None where it was not asked for.
    """

    name: str
    operators: tuple[str, ...]
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    flops: int
    parameters: int
    weights_bytes: int
    fetched_bytes: int
    time_s: Estimate
    samples_s: tuple[float, ...]
    memory: ProcessMemory | None = None


@dataclass(frozen=True, slots=True)
class Sum:
    """How good it is to take the sum of the segments for the whole.

    Attributes:
        time_s: of all segments, round by round.
        to_whole: its ratio to the whole of the same round; 1 is perfect.
        call_s: what calling TensorFlow for nothing costs, of which the sum holds one per segment, the whole one.
        without_calls_to_whole: the ratio when the median of `call_s` is taken off the sum for every segment but one:
            what a prediction from segments should do.
    """

    time_s: Estimate
    to_whole: Estimate
    call_s: Estimate
    without_calls_to_whole: Estimate


@dataclass(frozen=True, slots=True)
class OperatorTime:
    """What an operator takes while the whole model runs.

    Attributes:
        name: of the operator.
        kernel: the operator whose kernel does its work: its own name, another's where TensorFlow fused them or computed
            the same once, None where nothing is run for it.
        time_s: elapsed time of one run of the batch that its own kernel stands for: where n kernels run at once, each
            stands for 1/n of it. 0 where it has none of its own; it then stays on the host of `kernel`.
        busy_s: from its kernel's beginning to its end.
    """

    name: str
    kernel: str | None
    time_s: Estimate
    busy_s: Estimate


@dataclass(frozen=True)
class OperatorTimes:
    """Times of operators, from TensorFlow's own trace of the whole model, and how good they are.

    Attributes:
        rows: one per operator, in the graph's order.
        sum_s: of all operators' `time_s`, round by round.
        sum_to_whole: its ratio to the whole of the same round, which was not traced; what is missing to 1 is spent
            between kernels and on `other_s`.
        other_s: elapsed time of kernels that belong to no operator: those that hand in constants and the frame.
        traced_s: of the traced run.
        traced_to_whole: its ratio to the whole of the same round: what tracing costs.
    """

    rows: tuple[OperatorTime, ...]
    sum_s: Estimate
    sum_to_whole: Estimate
    other_s: Estimate
    traced_s: Estimate
    traced_to_whole: Estimate


@dataclass(frozen=True)
class HostFacts:
    """Where and how it was measured.

    Attributes:
        machine: as the kernel calls it, ``x86_64``.
        processor: as it calls itself; None where it does not.
        cores: that the process was pinned to.
        pool_threads: of TensorFlow's pool.
        mhz_before, mhz_after: of each of the cores, in their order; None where the kernel does not tell.
        load_before, load_after: the machine's load average over a minute; a busy machine gives wide intervals.
        versions: of Slicebed, TensorFlow, numpy, Python and the kernel.
        onednn: what ``TF_ENABLE_ONEDNN_OPTS`` was set to; None where TensorFlow chose by the processor.
    """

    machine: str
    processor: str | None
    cores: tuple[int, ...]
    pool_threads: int
    mhz_before: tuple[float, ...] | None
    mhz_after: tuple[float, ...] | None
    load_before: float
    load_after: float
    versions: Mapping[str, str]
    onednn: str | None


@dataclass(frozen=True, slots=True)
class Settings:
    """How it was measured.

    Attributes:
        boundaries: see `measure.Boundaries`.
        level: ``op`` or ``layer``; of a cut ``op``.
        rounds: counted.
        warmup_rounds: before them.
        batch: frames in a run.
        seed: of the frame and of the order within each round.
    """

    boundaries: str
    level: str
    rounds: int
    warmup_rounds: int
    batch: int
    seed: int


@dataclass(frozen=True)
class Profile:
    """A model's profile on one host.

    Attributes:
        model: its name.
        weights: where they come from, as `card.Weights` prints it.
        graph_sha256: hash of the frozen graph.
        settings: how it was measured.
        host: where.
        whole: the model as one.
        segments: in the model's order; their operators together are the whole's.
        sum: of the segments against the whole.
        operators: None where they were not asked for.
    """

    model: str
    weights: str
    graph_sha256: str
    settings: Settings
    host: HostFacts
    whole: Segment
    segments: tuple[Segment, ...]
    sum: Sum
    operators: OperatorTimes | None = None

    def to_json(self) -> str:
        """What `from_json` reads; the same profile always gives the same text."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> Profile:
        """Read a profile.

        Args:
            text: what `to_json` wrote, by this version or a later one of the same format.
            where: the file, for the error.

        Raises:
            AgentConfigError: it is no profile, or one of another format.
        """
        try:
            row = json.loads(text)
            if row["format"] != FORMAT:
                raise ValueError(f"format {row['format']!r}, this version reads {FORMAT}")  # noqa: TRY301 - one mend
            host = _pick(HostFacts, row["host"])
            return cls(
                model=str(row["model"]),
                weights=str(row["weights"]),
                graph_sha256=str(row["graph_sha256"]),
                settings=Settings(**_pick(Settings, row["settings"])),
                host=HostFacts(
                    **{
                        **host,
                        "cores": tuple(host["cores"]),
                        "mhz_before": _numbers(host["mhz_before"]),
                        "mhz_after": _numbers(host["mhz_after"]),
                    }
                ),
                whole=_segment(row["whole"]),
                segments=tuple(_segment(each) for each in row["segments"]),
                sum=Sum(**{key: _estimate(value) for key, value in _pick(Sum, row["sum"]).items()}),
                operators=_operators(row.get("operators")),
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AgentConfigError(
                f"not a profile: {type(error).__name__}: {error}", where=where, mend="profile the model again"
            ) from error


def read_profile(path: Path) -> Profile:
    """A profile from its file.

    Raises:
        AgentConfigError: it cannot be read, or is no profile.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentConfigError(f"cannot read it: {error}", where=str(path), mend="profile the model again") from error
    return Profile.from_json(text, where=str(path))


def _segment(row: dict[str, Any]) -> Segment:
    known = _pick(Segment, row)
    memory = known["memory"]
    return Segment(
        **{
            **known,
            **{key: tuple(known[key]) for key in ("operators", "feeds", "fetches", "samples_s")},
            "time_s": _estimate(known["time_s"]),
            "memory": None if memory is None else ProcessMemory(**_pick(ProcessMemory, memory)),
        }
    )


def _operators(row: dict[str, Any] | None) -> OperatorTimes | None:
    if row is None:
        return None
    known = _pick(OperatorTimes, row)
    rows = tuple(
        OperatorTime(
            str(each["name"]),
            None if each["kernel"] is None else str(each["kernel"]),
            *(_estimate(each[key]) for key in ("time_s", "busy_s")),
        )
        for each in known.pop("rows")
    )
    return OperatorTimes(rows, **{key: _estimate(value) for key, value in known.items()})


def _estimate(row: dict[str, float]) -> Estimate:
    return Estimate(**{key: float(value) for key, value in _pick(Estimate, row).items()})


def _numbers(row: list[float] | None) -> tuple[float, ...] | None:
    return None if row is None else tuple(row)


def _pick(kind: type, row: dict[str, Any]) -> dict[str, Any]:
    """The fields that a dataclass has, all of them; what a later version added is left out."""
    return {each.name: row[each.name] for each in dataclasses.fields(kind)}
