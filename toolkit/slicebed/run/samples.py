"""One run's samples: what every agent wrote, joined into one row per frame, and the account of all frames."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.errors import RunError
from slicebed.spec.cuts import Cut

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

Record = dict[str, Any]

_RUN_COLUMNS = ("campaign", "run", "configuration", "cut", "repeat")
_TEXT = ("campaign", "run", "configuration", "cut", "end", "end_host", "end_stage", "end_reason")
_COUNTS = ("images", "labels_equal", "labels_correct")
_ERRORS = ("max_abs_error", "max_rel_error")
_HOST_TIMES = ("receive", "queue_wait", "decode", "compute", "overhead", "encode", "send_queue_wait", "send")
_HOST_COUNTS = ("parts_in", "parts_out", "bytes_in", "bytes_out")
_ENDS = frozenset({"completed", "dropped", "failed"})
_NAMED_FRAMES = 8
EQUALITY_BAR = 1e-5
"""Largest difference of an output that other kernels may make; a label may never differ."""


@dataclass(frozen=True)
class HostAccount:
    """What one agent wrote about a run.

    Attributes:
        frames: the frame lines by frame id, the first of each.
        ends: the end lines by frame id (first agent only).
        twice: frame ids that have more than one frame line or more than one end line.
        footer: the last line, or None when the agent did not get to write it.
    """

    frames: dict[int, Record] = field(default_factory=dict)
    ends: dict[int, Record] = field(default_factory=dict)
    twice: set[int] = field(default_factory=set)
    footer: Record | None = None


def is_complete(manifest: Mapping[str, Any]) -> bool:
    """Whether the run came to its end; only then is its account of frames whole."""
    return bool(manifest["status"] == "complete")


def chain_of(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    """The hosts of the run, first to last."""
    return tuple(manifest["spec"]["chain"])


def cut_label(manifest: Mapping[str, Any]) -> str:
    """The run's cut as one label, such as ``1-8``."""
    return Cut(tuple(manifest["cut"])).label


def frames_table(run_dir: Path, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """Join what the agents wrote into one row per frame, in the order of capture.

    Times are milliseconds of the host's own monotonic clock; ``captured_s`` counts seconds from the first frame.
    In a run that is not complete, frames whose end is not known have a missing ``end``, and hosts that left no file
    have missing values.

    Args:
        run_dir: the run's folder, with ``hosts/<host>/samples.jsonl``.
        manifest: the content of its ``manifest.json``.

    Raises:
        RunError: a file of a complete run is missing or a line cannot be read.
    """
    chain = chain_of(manifest)
    accounts = read_accounts(run_dir, manifest)
    ends = accounts[chain[0]].ends
    known = set(ends).union(*(account.frames for account in accounts.values()))
    captured = [end["captured_ns"] for end in ends.values()]
    start_ns = min(captured) if captured else 0
    rows = []
    for frame_id in sorted(known):
        end = ends.get(frame_id, {})
        row: Record = {
            "campaign": manifest["campaign"],
            "run": manifest["run"],
            "configuration": str(manifest["configuration"]),
            "cut": cut_label(manifest),
            "repeat": manifest["repeat"],
            "frame_id": frame_id,
            "end": end.get("end"),
            "end_host": end.get("end_host"),
            "end_stage": end.get("end_stage"),
            "end_reason": end.get("end_reason"),
            "latency_ms": _ms(end.get("latency_ns")),
            "captured_s": (end["captured_ns"] - start_ns) / 1e9 if end else None,
            "images": end.get("images"),
            "labels_equal": end.get("labels_equal"),
            "labels_correct": end.get("labels_correct"),
            **{error: end.get(error) for error in _ERRORS},
        }
        for host in chain:
            line = accounts[host].frames.get(frame_id, {})
            row |= {f"{host}_{stage}_ms": _ms(line.get(f"{stage}_ns")) for stage in _HOST_TIMES}
            row |= {f"{host}_{count}": line.get(count) for count in _HOST_COUNTS}
        rows.append(row)
    return _typed(pd.DataFrame(rows, columns=_columns(chain)), chain)


def write_samples(run_dir: Path, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """Write ``samples.parquet`` and ``samples.csv`` into the run folder, then check a complete run's account.

    The files are written first: the samples of a run that breaks the account are what explains it.

    Raises:
        RunError: as `frames_table`, `check_conservation` and `check_equality`.
    """
    table = frames_table(run_dir, manifest)
    table.to_parquet(run_dir / "samples.parquet", engine="pyarrow", index=False)
    table.to_csv(run_dir / "samples.csv", index=False)
    if is_complete(manifest):
        check_conservation(table, manifest, run_dir)
        check_equality(table, manifest)
    return table


def check_conservation(table: pd.DataFrame, manifest: Mapping[str, Any], run_dir: Path) -> None:
    """Check that every captured frame has exactly one end, and that the hosts agree about it.

    - captured = completed + dropped + failed, by the first host's end lines, its footer and the manifest alike;
    - a frame that the first host calls dropped has a line of the host it names, dropped at the stage it names;
    - a completed frame was answered by the last host, and no frame answered there is called dropped;
    - a frame that a host says it dropped did end there, and no host knows a frame that was never captured.

    Raises:
        RunError: naming the frames and hosts that disagree.
    """
    where = f"run {manifest['run']}"
    chain = chain_of(manifest)
    accounts = read_accounts(run_dir, manifest)
    counts = {"captured": len(accounts[chain[0]].ends)}
    counts |= {end: int((table["end"] == end).sum()) for end in sorted(_ENDS)}
    footer = accounts[chain[0]].footer
    for source, told in (("its manifest", manifest["frames"]), (f"the footer of {chain[0]}", footer)):
        if told is None:
            raise RunError(f"{source} is missing", where=where)
        different = [f"{key} {counts[key]} against {told.get(key)}" for key in counts if told.get(key) != counts[key]]
        if different:
            raise RunError(
                f"frames are not conserved: samples and {source} differ: {', '.join(different)}", where=where
            )
    if counts["captured"] != counts["completed"] + counts["dropped"] + counts["failed"]:
        raise RunError(f"frames are not conserved: captured is not the sum of the ends: {counts}", where=where)
    disagreements = _disagreements(chain, accounts)
    if disagreements:
        shown = "; ".join(f"{what}: {_named(frames)}" for what, frames in disagreements.items())
        raise RunError(f"frames are not conserved: {shown}", where=where)


def check_equality(table: pd.DataFrame, manifest: Mapping[str, Any]) -> None:
    """Check that the chain of slices answered every completed frame as the whole model does.

    Raises:
        RunError: a label differs, or an output by more than `EQUALITY_BAR` of its largest value; the first such frame
            is named.
    """
    done = table[table["end"] == "completed"]
    wrong = done[(done["labels_equal"] != done["images"]) | ~(done["max_rel_error"] <= EQUALITY_BAR)]
    if len(wrong):
        first = wrong.iloc[0]
        raise RunError(
            f"{len(wrong)} of {len(done)} answers are not the whole model's: frame {first['frame_id']} has"
            f" {first['labels_equal']} of {first['images']} labels equal, its output differs by"
            f" {first['max_rel_error']:.2g} of its largest value ({EQUALITY_BAR:g} is allowed)",
            where=f"run {manifest['run']}",
        )


def _disagreements(chain: tuple[str, ...], accounts: Mapping[str, HostAccount]) -> dict[str, list[int]]:
    """What the hosts say against each other, with the frames concerned."""
    first = chain[0]
    ends = accounts[first].ends
    found: dict[str, list[int]] = {}
    for frame_id, end in ends.items():
        what = _wrong_end(end, chain, accounts)
        if what is not None:
            found.setdefault(what, []).append(frame_id)
    for host, account in accounts.items():
        if account.twice:
            found[f"told twice by {host}"] = sorted(account.twice)
        for frame_id, line in account.frames.items():
            what = _wrong_line(host, line, ends.get(frame_id), first)
            if what is not None:
                found.setdefault(what, []).append(frame_id)
    return found


def _wrong_end(end: Record, chain: tuple[str, ...], accounts: Mapping[str, HostAccount]) -> str | None:
    """What the other hosts' lines say against an end that the first host tells."""
    frame_id, kind = end["frame_id"], end["end"]
    if kind not in _ENDS:
        return f"ended as {kind!r}"
    if kind == "completed" and accounts[chain[-1]].frames.get(frame_id, {}).get("left") != "answered":
        return f"completed, but not answered by {chain[-1]}"
    if kind == "dropped":
        host, stage = end["end_host"], end["end_stage"]
        line = accounts[host].frames.get(frame_id, {}) if host in accounts else {}
        if (line.get("left"), line.get("stage")) != ("dropped", stage):
            return f"dropped at {host} {stage} by the account of {chain[0]}, but not by that of {host}"
    return None


def _wrong_line(host: str, line: Record, end: Record | None, first: str) -> str | None:
    """What the first host's end says against another host's line."""
    if end is None:
        return f"known to {host}, but without an end at {first}"
    # An answer may be lost on its way back, which is a failure; it is never a drop.
    if line["left"] == "answered" and end["end"] == "dropped":
        return f"answered by {host}, but dropped by the account of {first}"
    if line["left"] == "dropped" and (end["end"], end["end_host"]) != ("dropped", host):
        return f"dropped at {host} by its account, but {end['end']} by that of {first}"
    return None


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
    footer: Record | None = None
    for number, line in enumerate(lines, start=1):
        try:
            record = json.loads(line)
            kind = record["kind"]
            if record.get("host", host) != host:
                raise RunError(f"samples of {record['host']}, not of {host}", where=f"{path}:{number}")
            if kind in {"frame", "end"}:
                _keep(account, account.frames if kind == "frame" else account.ends, record)
            elif kind == "footer":
                footer = record
        except (ValueError, KeyError, TypeError):
            if not whole and number == len(lines):
                break
            raise RunError("a sample cannot be read", where=f"{path}:{number}") from None
    return HostAccount(account.frames, account.ends, account.twice, footer)


def _keep(account: HostAccount, records: dict[int, Record], record: Record) -> None:
    frame_id = int(record["frame_id"])
    if frame_id in records:
        account.twice.add(frame_id)
    else:
        records[frame_id] = record


def _named(frames: list[int]) -> str:
    shown = ", ".join(str(frame_id) for frame_id in sorted(frames)[:_NAMED_FRAMES])
    more = f" and {len(frames) - _NAMED_FRAMES} more" if len(frames) > _NAMED_FRAMES else ""
    return f"{'frame' if len(frames) == 1 else 'frames'} {shown}{more}"


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _columns(chain: tuple[str, ...]) -> list[str]:
    columns = [*_RUN_COLUMNS, "frame_id", "end", "end_host", "end_stage", "end_reason", "latency_ms", "captured_s"]
    columns += [*_COUNTS, *_ERRORS]
    for host in chain:
        columns += [f"{host}_{stage}_ms" for stage in _HOST_TIMES] + [f"{host}_{count}" for count in _HOST_COUNTS]
    return columns


def _typed(table: pd.DataFrame, chain: tuple[str, ...]) -> pd.DataFrame:
    """The same column types whatever values are missing, so that runs can be joined."""
    kinds: dict[str, str] = dict.fromkeys(_TEXT, "string")
    kinds |= dict.fromkeys((*_COUNTS, *(f"{host}_{count}" for host in chain for count in _HOST_COUNTS)), "Int64")
    kinds |= {"repeat": "int64", "frame_id": "int64"}
    return table.astype({column: kinds.get(column, "float64") for column in table.columns})
