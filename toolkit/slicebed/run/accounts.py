"""What every agent wrote about a run, read back: frames and their ends, and what else it noted."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from slicebed.errors import RunError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Record = dict[str, Any]


@dataclass(frozen=True)
class HostAccount:
    """What one agent wrote about a run.

    Attributes:
        frames: the frame lines by frame id, the first of each.
        ends: the end lines by frame id (first agent only).
        twice: frame ids that have more than one frame line or more than one end line.
        footer: the last line, or None when the agent did not get to write it.
        notes: what it said besides, by kind, in the order of writing: "clock", "usage", "codec", "cut", "link".
    """

    frames: dict[int, Record] = field(default_factory=dict)
    ends: dict[int, Record] = field(default_factory=dict)
    twice: set[int] = field(default_factory=set)
    footer: Record | None = None
    notes: dict[str, list[Record]] = field(default_factory=dict)


def is_complete(manifest: Mapping[str, Any]) -> bool:
    """Whether the run came to its end; only then is its account of frames whole."""
    return bool(manifest["status"] == "complete")


def chain_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts of the run, first to last: those of its placement, else of the experiment."""
    return tuple(manifest.get("chain") or manifest["spec"]["chain"])


def read_accounts(run_dir: Path, manifest: Mapping[str, Any]) -> dict[str, HostAccount]:
    """Read what every agent of the chain wrote.

    In a run that is not complete, a missing file is an empty account and a line cut short at the end of a file is left
    out, because the agent or its connection may have died while writing.

    Raises:
        RunError: a file of a complete run is missing, or a line cannot be read.
    """
    whole = is_complete(manifest)
    return {
        host: _read_account(run_dir / "hosts" / host / "samples.jsonl", host, whole=whole)
        for host in chain_of(manifest)
    }


def _read_account(path: Path, host: str, *, whole: bool) -> HostAccount:
    account = HostAccount()
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        if whole:
            raise RunError("samples of a complete run are missing", where=str(path)) from None
        return account
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"samples cannot be read: {error}", where=str(path)) from None
    for number, line in enumerate(lines, start=1):
        try:
            account = _with_line(account, json.loads(line), host, f"{path}:{number}")
        except (ValueError, KeyError, TypeError):
            if not whole and number == len(lines):
                break
            raise RunError("a sample cannot be read", where=f"{path}:{number}") from None
    return account


def _with_line(account: HostAccount, record: Record, host: str, where: str) -> HostAccount:
    kind = record["kind"]
    if record.get("host", host) != host:
        raise RunError(f"samples of {record['host']}, not of {host}", where=where)
    if kind == "footer":
        return replace(account, footer=record)
    if kind in {"frame", "end"}:
        _keep(account, account.frames if kind == "frame" else account.ends, record)
    elif kind != "header":
        account.notes.setdefault(kind, []).append(record)
    return account


def _keep(account: HostAccount, records: dict[int, Record], record: Record) -> None:
    frame_id = int(record["frame_id"])
    if frame_id in records:
        account.twice.add(frame_id)
    else:
        records[frame_id] = record
