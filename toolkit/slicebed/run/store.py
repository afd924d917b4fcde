"""A campaign on disk: its plan, its journal, and one folder per run that appears under its name only when whole."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from slicebed.errors import ConflictError, RunError, SlicebedError, SpecError
from slicebed.run.taken import locked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

_NOTING = threading.Lock()
_PARTIAL = ".partial"
_COMPLETE = "campaign_complete"
FAILED = "failed"
INVALID = "invalid"
"""How an attempt's folder says that a link was not as asked while it ran."""


def now() -> str:
    """UTC, to the millisecond, as every file of a campaign writes it."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    partial = path.with_name(path.name + ".new")
    partial.write_text(json.dumps(value, indent=1) + "\n")
    partial.replace(path)


@dataclass(frozen=True)
class Campaign:
    """One sweep of runs in one folder."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder's name: experiment and time of creation."""
        return self.folder.name

    @property
    def plan(self) -> dict[str, Any]:
        """What campaign.json holds.

        Raises:
            RunError: it cannot be read.
        """
        path = self.folder / "campaign.json"
        try:
            loaded = json.loads(path.read_text())
        except (OSError, ValueError):
            loaded = None
        if not isinstance(loaded, dict):
            raise RunError("a campaign's plan cannot be read", where=str(path), mend="take its folder away")
        return loaded

    @contextmanager
    def taken(self) -> Iterator[Campaign]:
        """Keep other commands from working on it, and make it fit to be gone on with.

        The kernel lets go when the process ends, however it ends.

        Yields:
            The campaign itself.

        Raises:
            ConflictError: another command works on it.
        """
        path = self.folder / "campaign.json"
        with path.open() as file:
            if not locked(file, fcntl.LOCK_EX):
                raise ConflictError(
                    "another slicebed command works on this campaign",
                    where=str(path),
                    mend="wait until it has ended, or end it with Ctrl-C",
                )
            self._recover()
            yield self

    def is_done(self, run_id: str) -> bool:
        """True when that run is whole."""
        return (self.folder / run_id / "manifest.json").is_file()

    def manifest(self, run_id: str) -> dict[str, Any]:
        """What the manifest of a whole run holds."""
        loaded: dict[str, Any] = json.loads((self.folder / run_id / "manifest.json").read_text())
        return loaded

    def begin_run(self, run_id: str) -> Path:
        """Make the run's folder under its partial name; remains of an earlier attempt become a failed run."""
        partial = self.folder / (run_id + _PARTIAL)
        if partial.exists():
            self.note("run_abandoned", run=run_id)
            self.fail_run(run_id)
        partial.mkdir(parents=True)
        self.note("run_started", run=run_id)
        return partial

    def finish_run(self, run_id: str) -> Path:
        """Give the whole run its name."""
        final = self.folder / run_id
        (self.folder / (run_id + _PARTIAL)).replace(final)
        self.note("run_complete", run=run_id)
        return final

    def fail_run(self, run_id: str, how: str = FAILED) -> Path:
        """Keep what a run left that is no result, under a name that says `FAILED` or `INVALID`."""
        attempt = 1
        while (kept := self.folder / f"{run_id}.{how}-{attempt}").exists():
            attempt += 1
        (self.folder / (run_id + _PARTIAL)).replace(kept)
        self.note(f"run_{how}", run=run_id, kept=kept.name)
        return kept

    def events(self) -> tuple[dict[str, Any], ...]:
        """The journal's lines, first to last; without a last one that was cut short.

        Raises:
            RunError: a line is no event.
        """
        path = self.folder / "journal.jsonl"
        whole = path.read_bytes().split(b"\n")[:-1] if path.is_file() else []
        return tuple(_event(line, f"{path}, line {number}") for number, line in enumerate(whole, start=1))

    @property
    def is_complete(self) -> bool:
        """Whether its journal says that nothing was left to do."""
        return any(line["event"] == _COMPLETE for line in self.events())

    def complete(self) -> None:
        """Note that nothing is left to do."""
        self.note(_COMPLETE)

    def _recover(self) -> None:
        """Mend what is left of a process that was killed, at whatever moment.

        A journal's line that was cut short is taken out, and a run that was whole but for its name is given it.
        """
        path = self.folder / "journal.jsonl"
        if path.is_file():
            with path.open("r+b") as journal:
                journal.truncate(journal.read().rfind(b"\n") + 1)
        for partial in sorted(self.folder.glob(f"*{_PARTIAL}")):
            if _is_whole(partial):
                self.finish_run(partial.name.removesuffix(_PARTIAL))

    def discard(self) -> None:
        """Leave nothing of it; for one that measured nothing."""
        shutil.rmtree(self.folder)

    def note(self, event: str, **facts: Any) -> None:
        """Add a line to the journal, on disk before this returns: all of it, or nothing where that fails."""
        line = (json.dumps({"at": now(), "event": event, **facts}) + "\n").encode()
        # Sites side by side note; one that takes back its line must not take another's.
        with _NOTING, (self.folder / "journal.jsonl").open("ab", buffering=0) as journal:
            before = journal.tell()
            try:
                while line:
                    line = line[journal.write(line) :]
                os.fsync(journal.fileno())
            except OSError:
                # What is noted next must not stand behind half a line.
                with suppress(OSError):
                    os.ftruncate(journal.fileno(), before)
                raise


def _is_whole(partial: Path) -> bool:
    """Whether a run's manifest, which is written last, says that it is complete."""
    try:
        return bool(json.loads((partial / "manifest.json").read_text())["status"] == "complete")
    except (FileNotFoundError, ValueError, KeyError):
        return False


def _event(line: bytes, where: str) -> dict[str, Any]:
    try:
        loaded = json.loads(line)
    except ValueError:
        loaded = None
    if not isinstance(loaded, dict) or not isinstance(loaded.get("event"), str):
        raise RunError("a line of the journal cannot be read", where=where, mend="take it out")
    return loaded


def create_campaign(results: Path, experiment: str, plan: Mapping[str, Any]) -> Campaign:
    """Make the folder of a new campaign with its plan."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    for suffix in ("", *(f"-{n}" for n in range(2, 100))):
        folder = results / f"{experiment}-{stamp}{suffix}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        campaign = Campaign(folder)
        write_json(folder / "campaign.json", {"campaign": folder.name, "created_at": now(), **plan})
        campaign.note("campaign_created")
        return campaign
    raise SpecError(f"too many campaigns named {experiment}-{stamp}", where=str(results))


def find_unfinished(results: Path, experiment: str, plan: Mapping[str, Any]) -> Campaign:
    """Give the newest unfinished campaign of the experiment that was begun with this plan.

    Raises:
        SpecError: there is none; it says what the newest unfinished one was begun with instead.
        RunError: there is none that can be read.
    """
    # As campaign.json gives it back: JSON knows no tuples.
    plan = json.loads(json.dumps(plan))
    others: list[SlicebedError] = []
    unreadable: list[SlicebedError] = []
    for folder in sorted(results.glob(f"{experiment}-*"), reverse=True):
        if not (folder / "campaign.json").is_file():
            continue
        campaign = Campaign(folder)
        try:
            found = campaign.plan
            if any(found.get(key) != plan.get(key) for key in ("experiment", "kind")) or _is_finished(campaign, found):
                continue
        except RunError as error:
            unreadable.append(error)
            continue
        if (other := begun_otherwise(folder, found, plan)) is None:
            return campaign
        others.append(other)
    none = SpecError(f"no unfinished campaign of {experiment}", where=str(results), mend="run without --resume")
    raise [*others, *unreadable, none][0]


def begun_otherwise(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> SpecError | None:
    """What keeps --resume from going on with what was begun in a folder; None where everything is the same.

    Args:
        folder: of a campaign, or of several.
        found: what was kept of how it was begun.
        wanted: what must be the same, as JSON gives it back.
    """
    different = [name for name in wanted if found.get(name) != wanted[name]]
    if not different:
        return None
    told = [name + (_unlike(found.get(name), wanted[name]) if name in _AGAIN else "") for name in different]
    again = dict.fromkeys(_AGAIN.get(name, "the options and the experiment file") for name in different)
    return SpecError(
        f"begun with another {', '.join(told)}",
        where=str(folder),
        mend=f"resume with {' and '.join(again)} it was begun with, or run without --resume",
    )


_AGAIN = {"hosts": "an inventory of the hosts", "image": "the agent image (slicebed image build, from the sources)"}
"""What to resume with, by what was different."""


def _unlike(found: Any, wanted: Any, name: str = "") -> str:
    """The first value in two plain ones that is not the same."""
    pairs: list[tuple[str, Any, Any]] = []
    if isinstance(found, dict) and isinstance(wanted, dict):
        pairs = [(key, found.get(key), wanted.get(key)) for key in {**found, **wanted}]
    elif isinstance(found, list) and isinstance(wanted, list):
        pairs = [(name, *each) for each in zip_longest(found, wanted)]
    for key, one, other in pairs:
        if one != other:
            return _unlike(one, other, key)
    return f" ({name + ' ' if name else ''}{_told(found)}, now {_told(wanted)})"


def _told(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {_told(each)}" for key, each in value.items())
    if isinstance(value, list):
        return "; ".join(map(_told, value))
    return "none" if value is None else str(value)


def _is_finished(campaign: Campaign, plan: Mapping[str, Any]) -> bool:
    """Whether nothing is left; how many runs a search needs is known only when it has ended, as its journal says."""
    return campaign.is_complete or ("runs" in plan and all(campaign.is_done(run) for run in plan["runs"]))
