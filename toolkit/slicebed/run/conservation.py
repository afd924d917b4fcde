"""The account of a run's frames: every one that was captured has one end, and the hosts agree about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicebed.errors import RunError
from slicebed.run.accounts import chain_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from slicebed.run.accounts import HostAccount, Record

# The stage that a frame is lost at when the way to its host breaks.
_LINK = "link"
_ENDS = frozenset({"completed", "dropped", "failed"})
_NAMED_FRAMES = 8


def check_conservation(table: pd.DataFrame, manifest: Mapping[str, Any], accounts: Mapping[str, HostAccount]) -> None:
    """Check that every captured frame has exactly one end, and that the hosts agree about it.

    - captured = completed + dropped + failed, by the first host's end lines, its footer and the manifest alike;
    - a frame that the first host calls dropped has a line of the host it names, dropped at the stage it names;
    - a completed frame was answered by the host that its end names (the last one, or an early exit's), and no frame
      answered anywhere is called dropped;
    - a frame that a host says it dropped did end there, unless a link before that host had given it up as failed;
    - no host knows a frame that was never captured.

    Raises:
        RunError: naming the frames and hosts that disagree.
    """
    where = f"run {manifest['run']}"
    chain = chain_of(manifest)
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
            what = _wrong_line(host, line, ends.get(frame_id), chain)
            if what is not None:
                found.setdefault(what, []).append(frame_id)
    return found


def _wrong_end(end: Record, chain: tuple[str, ...], accounts: Mapping[str, HostAccount]) -> str | None:
    """What the other hosts' lines say against an end that the first host tells."""
    frame_id, kind = end["frame_id"], end["end"]
    if kind not in _ENDS:
        return f"ended as {kind!r}"
    if kind == "completed":
        host = end.get("answered_by") or chain[-1]
        if host not in accounts or accounts[host].frames.get(frame_id, {}).get("left") != "answered":
            return f"completed, but not answered by {host}"
    if kind == "dropped":
        host, stage = end["end_host"], end["end_stage"]
        line = accounts[host].frames.get(frame_id, {}) if host in accounts else {}
        if (line.get("left"), line.get("stage")) != ("dropped", stage):
            return f"dropped at {host} {stage} by the account of {chain[0]}, but not by that of {host}"
    return None


def _wrong_line(host: str, line: Record, end: Record | None, chain: tuple[str, ...]) -> str | None:
    """What the first host's end says against another host's line."""
    first = chain[0]
    if end is None:
        return f"known to {host}, but without an end at {first}"
    # An answer may be lost on its way back, which is a failure; it is never a drop.
    if line["left"] == "answered" and end["end"] == "dropped":
        return f"answered by {host}, but dropped by the account of {first}"
    if end["end"] == "failed" and (
        _is_before(end["end_host"], host, chain) or (end["end_host"], end["end_stage"]) == (host, _LINK)
    ):
        # A link broke behind the frame, which went on and was nobody's any more; it is told by its far end.
        return None
    if line["left"] == "dropped" and (end["end"], end["end_host"]) != ("dropped", host):
        return f"dropped at {host} by its account, but {end['end']} by that of {first}"
    return None


def _is_before(host: str | None, other: str, chain: tuple[str, ...]) -> bool:
    """Whether frames pass one host before another."""
    return host in chain and chain.index(host) < chain.index(other)


def _named(frames: list[int]) -> str:
    shown = ", ".join(str(frame_id) for frame_id in sorted(frames)[:_NAMED_FRAMES])
    more = f" and {len(frames) - _NAMED_FRAMES} more" if len(frames) > _NAMED_FRAMES else ""
    return f"{'frame' if len(frames) == 1 else 'frames'} {shown}{more}"
