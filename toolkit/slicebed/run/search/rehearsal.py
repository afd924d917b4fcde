"""Every method's first step, before a host is asked for anything: refusals are known before hours of runs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final

from slicebed.errors import SpecError
from slicebed.run.search.forecast import Facts, require_predictable
from slicebed.split.predict.predictor import METRICS
from slicebed.split.search.registry import needs_profiles
from slicebed.split.search.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import NoReturn

    from slicebed.run.search.searching import Settings
    from slicebed.run.search.space import Space
    from slicebed.split.search.contracts import Measure, Method, Problem

# Stands for what a host computes until it is profiled.
_SOME_S: Final = 0.001


class _EnoughError(Exception):
    """What comes now depends on profiles."""


def rehearse(
    spaces: Sequence[Space], methods: Mapping[str, Method], settings: Settings, say: Callable[[str], None]
) -> None:
    """Start every method on every problem; one that needs profiles goes as far as it gets without predictions.

    Args:
        spaces: the problems.
        methods: by name.
        settings: how the search goes about it.
        say: told whose turn it is, for a method may take its time.

    Raises:
        SpecError: a method refuses a problem or its options, or cannot predict the objective or a candidate; or repeats
            wait for an interval that the objective has not.
    """
    if settings.until is not None and "energy" in {*settings.objective.weights, *settings.objective.limits}:
        # Of the file itself that is told already; the command line may name another objective.
        raise SpecError(
            "until with energy, which has no interval",
            where="repeats",
            mend="repeats without until, or another objective",
        )
    for space in spaces:
        for name, method in methods.items():
            say(f"{space.id}: {name} looks at the problem")
            problem = settings.problem(space, name)
            try:
                if needs_profiles(method):
                    for candidate in space.candidates:
                        require_predictable(Facts(space.experiment, space.configuration, space.frames), candidate)
                Session(name, method, _unprofiled(problem) if needs_profiles(method) else problem)
            except SpecError as error:
                if isinstance(error.__cause__, _EnoughError):
                    continue
                error.where = ", ".join(filter(None, (error.where, f"problem {space.id}")))
                raise


def _unprofiled(problem: Problem) -> Problem:
    objective = problem.objective
    unpredicted = [metric for metric in (*objective.weights, *objective.limits) if metric not in METRICS]

    def foretell(_: Sequence[Measure]) -> NoReturn:
        if unpredicted:
            raise SpecError(f"{unpredicted[0]} is not predicted", mend=f"minimise {', '.join(METRICS)}")
        raise _EnoughError

    candidates = tuple(replace(each, compute_s=(_SOME_S,) * len(each.hosts)) for each in problem.candidates)
    return replace(problem, candidates=candidates, foretell=foretell)
