"""What this host remembers of its conditions, on its own disk: the original state, the last wish, what is on loan.

Written and synced before the act it is about, so that a host can be restored from these files alone: by another control
machine, after a crash in the middle of an apply, or by the dead-man timer.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

DIRECTORY = Path("/var/lib/slicebed/conditions")
LOCK_TIMEOUT_S = 30.0
VERSION = 1
GIVE_UP = "move the file away to give up what it remembers; the host is then left as it is now"


class State:
    """The files of one host's conditions.

    Attributes:
        directory: where they are; it goes with the last of them.
    """

    def __init__(self, directory: Path = DIRECTORY, lock_directory: Path = Path("/run")) -> None:
        self.directory = directory
        self.lock_directory = lock_directory
        self._original = directory / "original.json"
        self._wish = directory / "wish.json"
        self._base = directory / "base_rtt.json"
        self._loan = directory / "loan.json"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the host's conditions for one act; a second one waits.

        Raises:
            HostError: another act holds them for longer than 30 s.
        """
        # A directory can be locked as well: so a plan leaves no file, and a restore removes none that others wait for.
        lock = os.open(self.lock_directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            deadline = time.monotonic() + LOCK_TIMEOUT_S
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise HostError(
                            "another command is changing this host's conditions",
                            where=str(self.directory),
                            mend="wait for it to end, then repeat",
                        ) from None
                    time.sleep(0.02)
            yield
        finally:
            os.close(lock)

    def original(self) -> dict[str, dict[str, Any]]:
        """The state found before the first change, by part and by the thing's name; empty when nothing is changed."""
        parts = self._read(self._original, "parts")
        for part, values in parts.items():
            if not isinstance(values, dict):
                raise _damaged(self._original, f"parts.{part} is no mapping")
        return parts

    def keep_original(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        """Remember values for things that have none yet: what was found first is the original."""
        kept = self.original()
        before = json.dumps(kept, sort_keys=True)
        for part, values in found.items():
            kept[part] = {**values, **kept.get(part, {})}
        if json.dumps(kept, sort_keys=True) != before:
            self._write_original(kept)

    def forget_original(self, part: str) -> None:
        """Drop a part that is as it was, what was wished of it, and its loan."""
        kept = self.original()
        kept.pop(part, None)
        # A wish or loan that somebody damaged stays as it is, for other verbs to tell of: going back needs neither.
        with suppress(HostError):
            wished = self.wish()
            wished.pop(part, None)
            self._write(self._wish, {"wish": wished})
        with suppress(HostError):
            self.end_loan((part,))
        self._write_original(kept)

    def clear_when_unchanged(self) -> None:
        """Remove the directory once nothing on the host is changed any more."""
        if self.original() or not self.directory.exists():
            return
        for path in (*self.directory.glob("*.partial"), self._wish, self._loan, self._base, self._original):
            path.unlink(missing_ok=True)
        # What somebody else put there keeps it.
        with suppress(OSError):
            self.directory.rmdir()

    def wish(self) -> dict[str, Any]:
        """The wish last applied, as the control machine sent it: the host's name and its parts; empty when none is."""
        return self._read(self._wish, "wish")

    def keep_wish(self, wish: Mapping[str, Any]) -> None:
        """Remember what is wished; parts that it does not speak of keep theirs."""
        before = self.wish()
        if {**before, **wish} != before:
            self._write(self._wish, {"wish": {**before, **wish}})

    def loan(self) -> dict[str, Any]:
        """Parts that somebody changed for a while: the name of who last did, as ``by``, and ``before``.

        The latter is what was wished of each part until then, None where nothing was. Empty without a loan.
        """
        loan = self._read(self._loan, "loan")
        if loan and not (isinstance(loan.get("by"), str) and isinstance(loan.get("before"), dict)):
            raise _damaged(self._loan, "loan lacks by or before")
        return loan

    def lend(self, by: str, parts: Iterable[str]) -> None:
        """Remember what is wished of these parts now; of a part that is on loan already, the earlier stays."""
        before = self.loan().get("before", {})
        wished = self.wish()
        if found := {part: wished.get(part) for part in parts} | before:
            self._write(self._loan, {"loan": {"by": by, "before": found}})

    def end_loan(self, parts: Iterable[str]) -> None:
        """Forget what was before the loan of these parts."""
        loan = self.loan()
        left = {part: wish for part, wish in loan.get("before", {}).items() if part not in set(parts)}
        if left:
            self._write(self._loan, {"loan": {**loan, "before": left}})
        else:
            self._loan.unlink(missing_ok=True)

    def base_rtt_us(self) -> dict[str, float]:
        """Round trip to each peer's address before anything was shaped, in microseconds."""
        kept = self._read(self._base, "rtt_us")
        for peer, rtt_us in kept.items():
            if isinstance(rtt_us, bool) or not isinstance(rtt_us, (int, float)):
                raise _damaged(self._base, f"rtt_us.{peer} is no number")
        return {peer: float(rtt_us) for peer, rtt_us in kept.items()}

    def keep_base_rtt_us(self, measured: Mapping[str, float]) -> None:
        """Remember round trips measured before shaping; a peer's first measure stays."""
        self._write(self._base, {"rtt_us": {**measured, **self.base_rtt_us()}})

    def _write_original(self, parts: Mapping[str, Any]) -> None:
        self._write(self._original, {"parts": parts})

    def _read(self, path: Path, key: str) -> dict[str, Any]:
        try:
            content = json.loads(path.read_text())
        except FileNotFoundError:
            return {}
        # Nested too deeply for the parser is no JSON of ours either.
        except (OSError, ValueError, RecursionError) as error:
            raise _damaged(path, f"cannot be read: {error}") from error
        if not isinstance(content, dict):
            raise _damaged(path, "is no mapping")
        if content.get("version") != VERSION:
            raise HostError(
                "is of another version of Slicebed",
                where=str(path),
                mend=f"restore the host with the version that wrote it, or {GIVE_UP}",
            )
        held = content.get(key)
        if not isinstance(held, dict):
            raise _damaged(path, f"{key} is no mapping")
        return held

    def _write(self, path: Path, content: Mapping[str, Any]) -> None:
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        partial = path.with_suffix(".partial")
        with partial.open("w") as file:
            # Of `json`, only `dumps` is compiled: five times as fast for the wish of 5,000 links.
            file.write(json.dumps({"version": VERSION, **content}, sort_keys=True))
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)


def _damaged(path: Path, what: str) -> HostError:
    return HostError(
        what, where=str(path), mend=f"it is written whole or not at all: has somebody edited it? If so, {GIVE_UP}"
    )
