"""What every candidate of a problem will take, from profiles of its hosts and its links as they were verified.

Draft: signatures first, for those who call them.

    profile = obtain(connection, subject, limits, place, earlier=...)       (profiles.py; once per host, model, condition)
    profiles = Profiles({("edge", knobs_of(candidate.knobs, "edge")): profile, ...})
    candidates = with_times(candidates, profiles)
    foretell = forecast(Facts(experiment, configuration), candidates, profiles, links)
    Problem(candidates, objective, foretell=foretell, ...)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed.run.search.profiles import Profiles
    from slicebed.spec.experiment import Configuration, Experiment
    from slicebed.split.search.contracts import Candidate, Foretold, Measure


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


@dataclass(frozen=True)
class LinkFacts:
    """A link as it was verified, in one direction.

    Attributes:
        rate_bit_per_s: what it carries; 0: nothing limits it.
        rtt_s: measured round trip, median.
        jitter_s: standard deviation of the round trip.
    """

    rate_bit_per_s: int
    rtt_s: float
    jitter_s: float = 0.0


def with_times(candidates: Sequence[Candidate], profiles: Profiles) -> tuple[Candidate, ...]:
    """The candidates with `compute_s` from the profiles.

    Raises:
        SpecError: a host of a candidate has no profile under the candidate's knobs, or no such split point is in it.
    """
    raise NotImplementedError


def forecast(
    facts: Facts,
    candidates: Sequence[Candidate],
    profiles: Profiles,
    links: Mapping[tuple[str, str], LinkFacts],
) -> Callable[[Sequence[Measure]], Mapping[str, Foretold]]:
    """Predictions of every candidate, which take into account what was measured so far.

    Args:
        facts: of the problem.
        candidates: of the problem.
        profiles: of every host that runs a slice.
        links: by sender and receiver.

    Raises:
        SpecError: a codec's cost is not in the profiles; see `with_times`.
    """
    raise NotImplementedError
