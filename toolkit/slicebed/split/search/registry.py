"""Methods by name, those that come with Slicebed and a user's own: entry points of the group ``slicebed.methods``."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Final

from slicebed.errors import SpecError

if TYPE_CHECKING:
    from slicebed.split.search.contracts import Method

GROUP: Final = "slicebed.methods"


def names() -> tuple[str, ...]:
    """The methods that are installed, in alphabetical order."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def load(name: str) -> Method:
    """The method of that name.

    Raises:
        SpecError: there is none, there are several, or it cannot be loaded.
    """
    registered = {point.value: point for point in entry_points(group=GROUP, name=name)}
    if not registered:
        raise SpecError(f"no method is named {name!r}", where="--method", mend=f"use {', '.join(names())}")
    if len(registered) > 1:
        raise SpecError(
            f"{name!r} is registered by {' and '.join(sorted(registered))}",
            where="--method",
            mend="uninstall all but one, or give yours another name",
        )
    ((value, point),) = registered.items()
    try:
        method: Method = point.load()
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        # sys.exit too: it would end the command as if all were well.
        raise SpecError(
            f"{value} cannot be loaded: {type(error).__name__}: {error}",
            where=f"method {name}",
            mend="mend or reinstall the package that registers it",
        ) from error
    if not callable(method):
        raise SpecError(
            f"{value} is {method!r}, which cannot be called",
            where=f"method {name}",
            mend="register a generator function that takes a Problem",
        )
    return method


def with_profiles(method: Method) -> Method:
    """Mark a method that cannot do without profiles of the hosts: they are made before it starts."""
    vars(method)["needs_profiles"] = True
    return method


def needs_profiles(method: Method) -> bool:
    """Whether a method is marked so."""
    return bool(getattr(method, "needs_profiles", False))
