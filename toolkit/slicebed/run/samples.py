"""One run's samples: what every agent wrote, joined into one row per frame, and what the agents noted besides."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.run.accounts import Record, chain_of, is_complete, read_accounts
from slicebed.run.conservation import check_conservation
from slicebed.run.equality import check_equality
from slicebed.run.transfers import transfers
from slicebed.spec.cuts import Cut

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slicebed.run.accounts import HostAccount

__all__ = ["chain_of", "cut_label", "frames_table", "is_complete", "read_accounts", "write_samples"]

_RUN_COLUMNS = ("campaign", "run", "configuration", "cut", "repeat")
_END_COLUMNS = ("end", "end_host", "end_stage", "end_reason")
_COUNTS = ("images", "labels_equal", "labels_correct")
_ERRORS = ("max_abs_error", "max_rel_error")
# What the pipeline adds: images that were held against the whole model's answers, the early exit that answered, the
# host of the answer, the cut's version, the experiment's placement.
_PIPELINE = ("checked", "early", "answered_by", "version", "placement")
_TEXT = ("campaign", "run", "configuration", "cut", *_END_COLUMNS, "early", "answered_by", "placement")
_WHOLE = (*_COUNTS, "checked", "version")
# A slice's own times stand among its host's, without a name of the stage.
_SLICE = "slice"
_HOST_TIMES = ("receive", "queue_wait", "decode", "compute", "overhead", "encode", "send_queue_wait", "send")
_STAGE_TIMES = ("queue_wait", "compute", "overhead")
_TRANSFER_TIMES = ("transfer", "transfer_bound")
_HOST_COUNTS = ("parts_in", "parts_out", "bytes_in", "bytes_raw_out", "bytes_out")
_USAGE = ("at_ns", "cpu_ns", "memory_bytes", "received_bytes", "sent_bytes", "energy_uj")
_EVENTS = ("clock", "codec", "cut", "link")


def cut_label(manifest: Mapping[str, Any], version: int | None = None) -> str:
    """The run's cut as one label, such as ``1-8``; of a stream, whose cut may change, that of a version."""
    cuts = {str(number): str(label) for number, label in manifest.get("cuts", {}).items()}
    return cuts.get(str(version)) or Cut(tuple(manifest["cut"])).label


def stages_of(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """The names of every host's stages, in their order; one slice each where the manifest does not tell."""
    told = manifest.get("stages", {})
    return {host: list(told.get(host, (_SLICE,))) for host in chain_of(manifest)}


def frames_table(
    run_dir: Path, manifest: Mapping[str, Any], accounts: Mapping[str, HostAccount] | None = None
) -> pd.DataFrame:
    """Join what the agents wrote into one row per frame, in the order of capture.

    Times are milliseconds of the host's own monotonic clock; ``captured_s`` counts seconds from the first frame. A
    transfer crosses two clocks: ``{host}_transfer_ms`` is from the moment the host began to send until the next host
    had everything, and is off by no more than ``{host}_transfer_bound_ms``.
    In a run that is not complete, frames whose end is not known have a missing ``end``, and hosts that left no file
    have missing values.

    Args:
        run_dir: the run's folder, with ``hosts/<host>/samples.jsonl``.
        manifest: the content of its ``manifest.json``.
        accounts: what is in these files, where it is read already.

    Raises:
        RunError: a file of a complete run is missing or a line cannot be read.
    """
    stages = stages_of(manifest)
    chain = tuple(stages)
    accounts = read_accounts(run_dir, manifest) if accounts is None else accounts
    ends = accounts[chain[0]].ends
    known = set(ends).union(*(account.frames for account in accounts.values()))
    captured = [end["captured_ns"] for end in ends.values()]
    start_ns = min(captured) if captured else 0
    crossed = transfers(chain, accounts)
    rows = []
    for frame_id in sorted(known):
        end = ends.get(frame_id, {})
        row: Record = {
            "campaign": manifest["campaign"],
            "run": manifest["run"],
            "configuration": str(manifest["configuration"]),
            "cut": cut_label(manifest, end.get("version")),
            "repeat": manifest["repeat"],
            "frame_id": frame_id,
            **{column: end.get(column) for column in _END_COLUMNS},
            "latency_ms": _ms(end.get("latency_ns")),
            "captured_s": (end["captured_ns"] - start_ns) / 1e9 if end else None,
            **{column: end.get(column) for column in (*_COUNTS, *_ERRORS)},
            "checked": end.get("checked", end.get("images") if end.get("labels_equal") is not None else None),
            "early": end.get("exit"),
            "answered_by": end.get("answered_by"),
            "version": end.get("version"),
            "placement": manifest.get("placement") or None,
        }
        for host in chain:
            row |= _host_values(host, stages[host], accounts[host].frames.get(frame_id, {}))
            crossing = crossed.get((host, frame_id))
            if crossing is not None:
                row |= {f"{host}_transfer_ms": crossing.ms, f"{host}_transfer_bound_ms": crossing.bound_ms}
        rows.append(row)
    return _typed(pd.DataFrame(rows, columns=_columns(stages)), chain)


def write_samples(run_dir: Path, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """Write ``samples.parquet`` and ``samples.csv`` into the run folder, then check a complete run's account.

    Beside them stand ``usage.parquet`` and ``usage.csv`` (what the agents' containers took, twice a second), and
    ``events.jsonl``: clocks, codecs, changes of cut, and links that broke, each line with its host.

    The files are written first: the samples of a run that breaks the account are what explains it.

    Raises:
        RunError: as `frames_table`, `check_conservation` and `check_equality`.
    """
    accounts = read_accounts(run_dir, manifest)
    table = frames_table(run_dir, manifest, accounts)
    _write_table(table, run_dir, "samples")
    usage = usage_table(accounts)
    if len(usage):
        _write_table(usage, run_dir, "usage")
    _write_events(run_dir, accounts)
    if is_complete(manifest):
        check_conservation(table, manifest, accounts)
        check_equality(table, manifest)
    return table


def usage_table(accounts: Mapping[str, HostAccount]) -> pd.DataFrame:
    """What every agent's container took since the run was prepared; ``at_ns`` is on its host's own clock."""
    rows = [
        {"host": host, **{name: record.get(name) for name in _USAGE}}
        for host, account in accounts.items()
        for record in account.notes.get("usage", ())
    ]
    kinds = {"host": "string", **dict.fromkeys(_USAGE, "Int64")}
    return pd.DataFrame(rows, columns=["host", *_USAGE]).astype(kinds)


def _write_table(table: pd.DataFrame, run_dir: Path, stem: str) -> None:
    table.to_parquet(run_dir / f"{stem}.parquet", engine="pyarrow", index=False)
    table.to_csv(run_dir / f"{stem}.csv", index=False)


def _write_events(run_dir: Path, accounts: Mapping[str, HostAccount]) -> None:
    lines = [
        json.dumps({"host": host, **record})
        for host, account in accounts.items()
        for kind in _EVENTS
        for record in account.notes.get(kind, ())
    ]
    if lines:
        (run_dir / "events.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _host_values(host: str, stages: Sequence[str], line: Record) -> Record:
    """What one host did with one frame, by column."""
    values: Record = {f"{host}_{name}_ms": _ms(line.get(f"{name}_ns")) for name in _HOST_TIMES}
    values |= {f"{host}_{count}": line.get(count) for count in _HOST_COUNTS}
    told = line.get("stages", {})
    for stage in stages:
        times = told.get(stage, {})
        values |= {_stage_column(host, stage, name): _ms(times.get(f"{name}_ns")) for name in _STAGE_TIMES}
    return values


def _stage_column(host: str, stage: str, name: str) -> str:
    return f"{host}_{name}_ms" if stage == _SLICE else f"{host}_{stage}_{name}_ms"


def _ms(nanoseconds: int | None) -> float | None:
    return None if nanoseconds is None else nanoseconds / 1e6


def _columns(stages: Mapping[str, Sequence[str]]) -> list[str]:
    columns = [*_RUN_COLUMNS, "frame_id", *_END_COLUMNS, "latency_ms", "captured_s", *_COUNTS, *_ERRORS, *_PIPELINE]
    for host, names in stages.items():
        times = [name for name in _HOST_TIMES if _SLICE in names or name not in _STAGE_TIMES]
        columns += [f"{host}_{name}_ms" for name in (*times, *_TRANSFER_TIMES)]
        columns += [f"{host}_{count}" for count in _HOST_COUNTS]
        columns += [_stage_column(host, stage, name) for stage in names if stage != _SLICE for name in _STAGE_TIMES]
    return columns


def _typed(table: pd.DataFrame, chain: tuple[str, ...]) -> pd.DataFrame:
    """The same column types whatever values are missing, so that runs can be joined."""
    kinds: dict[str, str] = dict.fromkeys(_TEXT, "string")
    kinds |= dict.fromkeys((*_WHOLE, *(f"{host}_{count}" for host in chain for count in _HOST_COUNTS)), "Int64")
    kinds |= {"repeat": "int64", "frame_id": "int64"}
    return table.astype({column: kinds.get(column, "float64") for column in table.columns})
