"""Work that steps back: done while frames are under way, whose stages shall not wait for it."""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

Made = TypeVar("Made")
_NICE: Final = 19


def behind(work: Callable[[], Made]) -> Made:
    """Do the work in a thread that gets the processor when nobody else of this control group wants it, and wait for it.

    A thread of its own, because an ordinary user's may be made nicer and never the other way.

    Raises:
        BaseException: what the work raises.
    """
    done: Future[Made] = Future()

    def run() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICE)
        try:
            done.set_result(work())
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            done.set_exception(error)

    thread = threading.Thread(target=run, name="behind", daemon=True)
    thread.start()
    return done.result()
