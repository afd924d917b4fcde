"""Hosts are used by one command at a time: locks that the kernel lets go when a process ends, however it ends."""

from __future__ import annotations

import fcntl
from contextlib import ExitStack, contextmanager
from typing import IO, TYPE_CHECKING

from slicebed.errors import ConflictError, MissingRequirementError
from slicebed.run.stream.desk import END_IT, listens, socket_path
from slicebed.spec.cuts import digest
from slicebed.testbed.checkout import state_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from slicebed.testbed.inventory import InventoryHost


@contextmanager
def hosts_taken(
    inventory: Path, hosts: Mapping[str, InventoryHost], *, beside_stream: bool = False
) -> Iterator[Callable[[], None]]:
    """Keep other commands off the hosts of an inventory, also those that reach a host by another inventory.

    The inventory is locked for all users of this machine; each host's address, as inventories write it, for this one.

    Args:
        inventory: of the hosts.
        hosts: all that it names.
        beside_stream: a stream that runs on them is no hindrance, another command of this kind is.

    Yields:
        What a stream calls once it runs, so that commands of that kind are let in beside it. All others are kept off
        until the last of both has ended.

    Raises:
        MissingRequirementError: no such inventory, or nowhere to keep a lock.
        ConflictError: a stream, or another command, uses them; also by the function that is yielded.
    """
    if not inventory.is_file():
        raise MissingRequirementError(
            "no such inventory", where=str(inventory), mend="run: slicebed lab up, or write one by hand"
        )
    with ExitStack() as stack:
        file = stack.enter_context(inventory.open())
        folder = state_folder() / "hosts"
        by_host = {
            endpoint: stack.enter_context(_lock_file(folder / f"{digest(endpoint)}.lock"))
            for endpoint in dict.fromkeys(host.endpoint for host in hosts.values())
        }

        def share() -> None:
            _take(inventory, {str(inventory): file, **by_host}, fcntl.LOCK_SH)

        if locked(file, fcntl.LOCK_EX):
            _take(inventory, by_host, fcntl.LOCK_EX)
        else:
            desk = socket_path(inventory)
            if not listens(desk):
                raise _taken(inventory)
            if not beside_stream:
                # It does not end by itself.
                raise ConflictError("a stream runs on these hosts", where=str(inventory), mend=END_IT)
            share()
            # The inventory itself lets in all that stand beside the stream; of these there is one at a time.
            if not locked(stack.enter_context(_lock_file(desk.with_suffix(".lock"))), fcntl.LOCK_EX):
                raise _taken(inventory)
        yield share


def locked(file: IO[str], kind: int) -> bool:
    """Whether a lock could be had, which a process keeps until it closes the file.

    Args:
        file: what is locked.
        kind: `fcntl.LOCK_EX`, for one alone, or `fcntl.LOCK_SH`.
    """
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _take(inventory: Path, files: Mapping[str, IO[str]], kind: int) -> None:
    for name, file in files.items():
        if not locked(file, kind):
            raise _taken(inventory, name)


def _lock_file(path: Path) -> IO[str]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path.open("a")
    except OSError as error:
        what = f"no lock can be kept: {error.strerror}"
        raise MissingRequirementError(what, where=str(path), mend="check the folder's rights") from error


def _taken(inventory: Path, name: str = "") -> ConflictError:
    what = "these hosts" if name in {"", str(inventory)} else f"the host at {name}, perhaps by another inventory"
    return ConflictError(
        f"another slicebed command uses {what}",
        where=str(inventory),
        mend="wait until it has ended, or end it with Ctrl-C",
    )
