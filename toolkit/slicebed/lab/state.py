"""The lab's lock and its state file, which is written before anything is made."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path  # noqa: TC003 - pydantic reads the annotations of LabState
from typing import TYPE_CHECKING

from pydantic import TypeAdapter, ValidationError

from slicebed.errors import ConflictError, MissingRequirementError
from slicebed.lab import paths
from slicebed.lab.layout import LabPlan  # noqa: TC001 - pydantic reads the annotations of LabState

if TYPE_CHECKING:
    from collections.abc import Iterator

# A child of a killed command holds the lock until its exec; anything longer is another living command.
LOCK_PATIENCE_S = 2.0


class Phase(Enum):
    """How far the lab has come."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"


@dataclass(frozen=True)
class LabState:
    """What ``down`` needs to know.

    Attributes:
        lab_id: 32 hexadecimal digits; marks the environment of every process of the lab.
        phase: how far it has come.
        plan: everything it is made of.
        inventory: the inventory file it writes.
        absent_before: shared directories that were not there before; removed again when they are empty.
    """

    lab_id: str
    phase: Phase
    plan: LabPlan
    inventory: Path
    absent_before: tuple[Path, ...]


_ADAPTER = TypeAdapter(LabState)


def read_state() -> LabState | None:
    """The state of this machine's lab; None when there is none, or only remains that do not say what they are.

    Raises:
        MissingRequirementError: not root.
    """
    try:
        return _ADAPTER.validate_json(paths.STATE_FILE.read_bytes())
    except PermissionError as error:
        raise MissingRequirementError("only root may look at the lab", mend="run it as root") from error
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def write_state(state: LabState) -> None:
    """Write it whole or not at all, and onto the disk before returning."""
    paths.LAB_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    paths.LAB_DIR.chmod(0o700)
    fresh = paths.STATE_FILE.with_suffix(".new")
    with fresh.open("wb") as file:
        file.write(_ADAPTER.dump_json(state, indent=2))
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(paths.STATE_FILE)


@contextmanager
def lab_lock() -> Iterator[None]:
    """Hold the one lock of the machine's lab; released by the kernel when the process dies.

    Raises:
        ConflictError: another command holds it.
    """
    paths.STATE_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while (descriptor := _try_lock()) is None:
        if time.monotonic() > deadline:
            raise ConflictError(
                "another slicebed lab command is running", where=str(paths.LOCK_FILE), mend="wait until it has ended"
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(descriptor)


def remove_lock() -> None:
    """Remove the lock file while holding it, and the directory when nothing else is in it."""
    paths.LOCK_FILE.unlink(missing_ok=True)
    with suppress(OSError):
        paths.STATE_ROOT.rmdir()


def _try_lock() -> int | None:
    try:
        descriptor = os.open(paths.LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o600)
    except FileNotFoundError:
        paths.STATE_ROOT.mkdir(mode=0o755, parents=True, exist_ok=True)
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Its last holder may have removed the file between our open and our lock: then it locks nothing.
        if paths.LOCK_FILE.stat().st_ino == os.fstat(descriptor).st_ino:
            return descriptor
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(descriptor)
    return None
