"""How a benchmark speaks to the terminal it was started from, and ends when that asks it to."""

from __future__ import annotations

import signal
import sys
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable


def say(text: str, *, heading: bool = False) -> None:
    """Print a paragraph, a table or a heading."""
    sys.stdout.write(f"\n{text}\n" if not heading else f"\n\n{text}\n{'=' * len(text)}\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """Say what is going on to whoever watches a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\033[K{text} ... \r")
        sys.stderr.flush()


def exit_code(name: str, run: Callable[[], Any], failures: tuple[type[Exception], ...], *, stopped: str) -> int:
    """Run a benchmark to its end, a failure of its own or a signal: 0, 1 or 130.

    Args:
        name: begins what is said of a failure.
        run: does everything, and clears up behind itself.
        failures: told in a line; any other is a bug.
        stopped: what is said when SIGINT or SIGTERM ended it.
    """
    signal.signal(signal.SIGINT, _stop)
    signal.signal(signal.SIGTERM, _stop)
    try:
        run()
    except failures as error:
        sys.stderr.write(f"{name}: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write(f"{name}: {stopped}\n")
        return 130
    return 0


def _stop(*_: object) -> NoReturn:
    # Once is enough: what follows is clearing up.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    raise KeyboardInterrupt
