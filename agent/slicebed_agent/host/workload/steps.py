"""What applying does to control groups: makes, limits and removes them; it never ends a process."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A process that forks while it is moved leaves a child behind; the kernel lets a group go a moment after its last one.
PREFIX = "slicebed."
_ROUNDS = 50
_PAUSE_S = 0.02
_SUBTREE = "cgroup.subtree_control"
# On the root group itself: hosts that share a kernel share nothing else, and it goes with a reboot as the groups do.
_MARK = "trusted.slicebed.controllers"


@dataclass(frozen=True)
class MakeGroup:
    """A group comes to be."""

    path: Path


@dataclass(frozen=True)
class RemoveGroup:
    """A group and those below it go; processes inside live on in the group above."""

    path: Path


@dataclass(frozen=True)
class Enable:
    """Controllers are turned on for the groups below a version 2 root, and the root remembers that it was us."""

    path: Path
    controllers: tuple[str, ...]


@dataclass(frozen=True)
class Release:
    """The controllers that `Enable` turned on go off again, unless another host's group needs them.

    It looks when its turn comes: where several hosts share a kernel, the last one turns them off.
    """

    path: Path
    group: str
    keep: frozenset[str]


@dataclass(frozen=True)
class Write:
    """A file gets a text; the kernel may print it otherwise (`Expect` says how)."""

    path: Path
    text: str


@dataclass(frozen=True)
class Expect:
    """A file must hold exactly this text."""

    path: Path
    text: str


Step = MakeGroup | RemoveGroup | Enable | Release | Write | Expect


def run(step: Step) -> None:
    """Do one step.

    Raises:
        HostError: the kernel refused it, or took another value.
    """
    try:
        if isinstance(step, MakeGroup):
            step.path.mkdir(exist_ok=True)
        elif isinstance(step, RemoveGroup):
            remove(step.path)
        elif isinstance(step, Enable):
            _enable(step)
        elif isinstance(step, Release):
            _release(step)
        elif isinstance(step, Write):
            step.path.write_text(f"{step.text}\n")
        elif step.path.read_text() != step.text:
            raise HostError(
                f"asked {step.text.strip()!r}, the kernel took {step.path.read_text().strip()!r}",
                where=str(step.path),
                mend="ask for a value that the kernel keeps",
            )
    except OSError as error:
        raise HostError(
            f"the kernel refused {_shown(step)}: {error.strerror}",
            where=str(step.path),
            mend="this needs root, and no container with limits of its own beyond these",
        ) from error


def remove(group: Path) -> None:
    """Remove a group and all below it; processes inside are moved to the group above, none is ended.

    Raises:
        HostError: processes cannot be moved or keep coming.
        OSError: the kernel refused the removal for another reason.
    """
    if not group.exists():
        return
    for _ in range(_ROUNDS):
        if _emptied(group):
            return
        time.sleep(_PAUSE_S)
    inside = sorted({pid for one in _deepest_first(group) for pid in _processes(one)})
    raise HostError(
        f"the group stays: processes {', '.join(inside) or 'that end only now'} are inside",
        where=str(group),
        mend="stop the containers that run in it, then restore again",
    )


def enabled_by_us(mount: Path) -> frozenset[str]:
    """Give the controllers that `Enable` turned on in a version 2 root and nobody released yet."""
    try:
        return frozenset(os.getxattr(mount, _MARK).decode().split())
    except OSError:
        # No mark, or a kernel or a user that can have none: then nothing was turned on either.
        return frozenset()


def _enable(step: Enable) -> None:
    marked = enabled_by_us(step.path).union(step.controllers)
    os.setxattr(step.path, _MARK, " ".join(sorted(marked)).encode())
    (step.path / _SUBTREE).write_text(" ".join(f"+{one}" for one in step.controllers))


def _release(step: Release) -> None:
    if any(other.name != step.group for other in step.path.glob(f"{PREFIX}*")):
        return
    marked = enabled_by_us(step.path)
    ours = sorted(marked - step.keep)
    if ours:
        (step.path / _SUBTREE).write_text(" ".join(f"-{one}" for one in ours))
    if marked.intersection(step.keep):
        os.setxattr(step.path, _MARK, " ".join(sorted(marked.intersection(step.keep))).encode())
    elif marked:
        try:
            os.removexattr(step.path, _MARK)
        except OSError as error:
            # Two last ones at once: the other has taken it.
            if error.errno != errno.ENODATA:
                raise


def _emptied(group: Path) -> bool:
    for one in _deepest_first(group):
        for pid in _processes(one):
            try:
                (group.parent / "cgroup.procs").write_text(pid)
            except ProcessLookupError:
                # It ended meanwhile, which is as good.
                continue
        try:
            one.rmdir()
        except FileNotFoundError:
            continue
        except OSError:
            return False
    return True


def _deepest_first(group: Path) -> Iterator[Path]:
    if group.is_dir():
        for child in sorted(each for each in group.iterdir() if each.is_dir()):
            yield from _deepest_first(child)
        yield group


def _processes(group: Path) -> list[str]:
    try:
        return (group / "cgroup.procs").read_text().split()
    except FileNotFoundError:
        return []


def _shown(step: Step) -> str:
    if isinstance(step, (Write, Expect)):
        return repr(step.text.strip())
    if isinstance(step, (Enable, Release)):
        return "to switch controllers of its groups"
    return "to make the group" if isinstance(step, MakeGroup) else "to remove the group"
