"""What a method of search sees and says: candidates, measures, and what it is asked to find."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping, Sequence

    from slicebed.spec.objective import Objective


@dataclass(frozen=True)
class Boundary:
    """What crosses one link of a candidate, and the link as the testbed asks for it.

    Before any cell runs, the round trip is measured and found to be as asked, within what `run.probe.judge` allows; the
    rate is set on the hosts and read back, not measured.

    Attributes:
        sender: host that sends.
        receiver: host that is sent to.
        bytes_per_frame: raw, of one frame (a batch), pictures where these cross.
        rate_bit_per_s: what the link is to carry; 0: nothing limits it, or nobody says.
        rtt_s: its round trip, as asked.
        ratio: of what the codec sends to `bytes_per_frame`, where that is known without a run: ``fp16`` and ``uint8``.
            1 with the others: ``lossless`` and ``auto`` send that much at most, ``tensorproto`` some bytes more.
    """

    sender: str
    receiver: str
    bytes_per_frame: int
    rate_bit_per_s: int = 0
    rtt_s: float = 0.0
    ratio: float = 1.0

    @property
    def sent_bytes(self) -> float:
        """What one frame brings onto the link, as far as that is known without a run."""
        return self.bytes_per_frame * self.ratio


@dataclass(frozen=True)
class Candidate:
    """One point of the space: a cut of a placement, with a codec and the knobs of hosts.

    Attributes:
        key: its name, unique in its problem and the same in every process.
        cut: split points; none where the model is left whole.
        hosts: that run a slice, first to last.
        places: of its split points along the model, operators before each; candidates of one placement are walked in
            this order.
        placement: name of the placement; "" where there is one.
        codec: of the boundaries.
        knobs: values of the configuration space by name, such as ``edge.cores``.
        boundaries: links that its frames cross, first to last.
        flops: floating point operations of each slice for one frame (a batch), as its operators' kinds and shapes tell.
        compute_s: seconds that each of `hosts` is predicted to compute for one frame, from profiles; () without any.
    """

    key: str
    cut: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    places: tuple[int, ...] = ()
    placement: str = ""
    codec: str = "raw"
    knobs: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))
    boundaries: tuple[Boundary, ...] = ()
    flops: tuple[int, ...] = ()
    compute_s: tuple[float, ...] = ()

    @property
    def place(self) -> int:
        """Of the first split point; 0 where the model is left whole."""
        return self.places[0] if self.places else 0


@dataclass(frozen=True)
class Figure:
    """A value with its 95 % interval; ``low`` and ``high`` are not numbers where samples were too few."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Measure:
    """What the runs of one candidate gave, all repeats together.

    Attributes:
        key: of the candidate.
        figures: by the objective's metric: ``latency`` (median, s), ``latency_p95`` (s), ``drop_rate`` (share),
            ``throughput`` (completed frames a second), ``bytes`` (sent per completed frame), ``energy`` (J per
            completed frame). What was not measured is not there.
        compute_s: median seconds of computing of each slice, first to last; () where no frame came through.
        frames: captured.
        repeats: runs behind it.
        testbed_s: seconds that the testbed was used for it.
    """

    key: str
    figures: Mapping[str, Figure]
    compute_s: tuple[float, ...] = ()
    frames: int = 0
    repeats: int = 1
    testbed_s: float = 0.0


@dataclass(frozen=True)
class Foretold:
    """What is predicted of one candidate, by metric, with the interval that the measure should fall into."""

    key: str
    figures: Mapping[str, Figure]


@dataclass(frozen=True)
class Problem:
    """What to find: the best of these candidates.

    Attributes:
        candidates: each key once.
        objective: what is minimised, and under which constraints.
        budget: the most candidates that may be measured; None: no limit.
        seed: of what a method draws.
        options: of the method, from the experiment's file.
        foretell: predictions of every candidate, which take into account what was measured so far; None where there are
            no profiles.
        rate_per_s: of the source.
    """

    candidates: tuple[Candidate, ...]
    objective: Objective
    budget: int | None = None
    seed: int = 0
    options: Mapping[str, float | str] = field(default_factory=lambda: MappingProxyType({}))
    foretell: Callable[[Sequence[Measure]], Mapping[str, Foretold]] | None = None
    rate_per_s: float = 0.0


@dataclass(frozen=True)
class Ask:
    """Measure these; a method that needs no order asks for many at once.

    Attributes:
        keys: of candidates.
        frames: captured for each; 0: as many as the experiment says.
        paired: all of them see the same pictures, one repeat each in turn.
    """

    keys: tuple[str, ...]
    frames: int = 0
    paired: bool = False


@dataclass(frozen=True)
class Choice:
    """What a method decided.

    Attributes:
        key: of the chosen candidate.
        why: in one sentence, with figures.
        regret: how much worse, as a share of the best, the choice may be by the method's own prediction; None where it
            does not say.
        error: median relative error of its own predictions of what was measured; None where it made none.
    """

    key: str
    why: str
    regret: float | None = None
    error: float | None = None


class Method(Protocol):
    """A way to search. Registered under an entry point of the group ``slicebed.methods``."""

    def __call__(self, problem: Problem) -> Generator[Ask, Sequence[Measure], Choice]:
        """Yield what to measure, be sent the measures (of those that could be measured, in any order), return a choice.

        Must be deterministic: --resume calls it again and sends it what was measured before. Nothing checks that: one
        that asks otherwise the second time has other candidates measured.

        Raises:
            SpecError: the problem lacks what this method needs.
        """
        ...
