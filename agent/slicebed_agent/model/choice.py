"""Which of several inputs or outputs are meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

from slicebed_agent.errors import AgentConfigError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_SHOWN = 8


def choose(  # noqa: PLR0913 - two lists of names, and what to call them
    what: str,
    given: Sequence[str] | None,
    known: Sequence[str],
    where: str,
    *,
    others: Iterable[str] = (),
    whole: bool = False,
) -> list[str]:
    """The names that are meant.

    Args:
        what: ``inputs`` or ``outputs``, as the option is called.
        given: what the user named; None where nothing was.
        known: those that the model declares.
        where: the model, for the error.
        others: what may be named as well.
        whole: each that the model declares must be named.

    Raises:
        AgentConfigError: there are several and none were named, or a name is unknown, named twice or missing.
    """
    if given is None:
        if len(known) == 1:
            return list(known)
        meant = "all" if whole else "those that you mean"
        raise AgentConfigError(
            f"{len(known)} {what}: {_listed(known)}", where=where, mend=f"name {meant}, each with --{what[:-1]}"
        )
    possible = [*known, *others]
    for name in given:
        if name not in possible:
            raise AgentConfigError(f"no {what[:-1]} {name!r}", where=where, mend=nearest(name, possible))
    if len(set(given)) != len(given) or not given:
        raise AgentConfigError(f"{what} {','.join(given)!r}", where=where, mend="name each once")
    if whole and set(given) != set(known):
        raise AgentConfigError(f"it takes {_listed(known)}", where=where, mend="name every input")
    return list(given)


def nearest(name: str, known: Sequence[str]) -> str:
    """What to tell somebody who gave an unknown name: the three nearest, or all of a few."""
    found = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    return f"nearest: {', '.join(found)}" if found else f"there are {_listed(known)}"


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"
