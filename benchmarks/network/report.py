"""What the benchmark prints of its results, and the same as plain data."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from benchmarks.network.stats import median, ratio
from benchmarks.network.tables import number, paragraph, seconds, spread, table, times

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from benchmarks.network.measure import Flowed, Timed
    from benchmarks.network.truth import Answer

INCLUDED = """
Included in every time: what runs on the host, and nothing of how it is reached. Not counted, in the others' favour:
the SSH and Ansible transport of EnosLib and its building of the commands (functions called: HTBSource.add_constraint,
_build_commands, _combine with chunk_size=100, as netem_htb does; the resulting lines are run by /bin/sh -c one after
the other, as Ansible's raw module does). tcconfig is its tcset command with --import-setting, --overwrite to repeat,
--change for one rule; its Python starts within the time because it is a command. Slicebed is the whole of an apply in
a process that already runs (lock, parse, plan, original state saved to disk, netlink, read back), as over its held
channel; what a process started for it costs is its own row. tc -batch is one file written beforehand; it neither
reads, saves nor checks.
"""


def nothing_table(found: Mapping[str, Timed], count: int, base: str) -> str:
    """Times from nothing; ratios to the way named `base`."""
    rows = []
    for name, timed in found.items():
        took = median(timed.seconds)
        against = "1" if name == base else times(ratio(timed.seconds, found[base].seconds))
        rows.append(
            [
                name + ("" if timed.complete else " (INCOMPLETE)"),
                seconds(took.median),
                spread(took),
                seconds(took.median / count),
                f"{timed.failed_codes}/{timed.codes}",
                against,
            ]
        )
    return table(["way", "median", "95 % interval", "per rule", "codes not 0", f"x {base}"], rows)


def slow_line(found: Timed, count: int, asked: int) -> str:
    """What a way that was not run at full size would take there, if a rule cost no more than it did."""
    per_rule = median(found.seconds).median / count
    return paragraph(
        f"""tcconfig was not run with {asked:,} destinations: at {seconds(per_rule)} per rule, as with {count}, they
        would take {per_rule * asked / 60:.0f} minutes."""
    )


def flow_table(found: Mapping[str, Flowed]) -> str:
    """What a flow met while the ways acted."""
    rows = []
    for name, met in found.items():
        lost = median(met.lost_per_act)
        interval = "too few" if math.isnan(lost.low) else f"{number(lost.low)} to {number(lost.high)}"
        own = number(sum(met.writes_per_act) / len(met.writes_per_act)) if name.startswith("Slicebed") else "-"
        announced = number(sum(met.announced_per_act) / len(met.announced_per_act)) if met.announced_per_act else "-"
        rows.append(
            [
                name,
                str(met.acts),
                seconds(median(met.seconds).median) if met.seconds else "-",
                own,
                announced,
                f"{met.sent:,}",
                f"{met.lost:,}",
                f"{number(lost.median)} ({interval})",
            ]
        )
    head = ["way", "acts", "each took", "own count", "announced", "packets", "lost", "lost per act"]
    return table(head, rows)


def truth_table(found: Sequence[Answer]) -> str:
    """What each way said of a delay, and what was there."""
    rows = [
        [
            answer.name,
            ", ".join(map(str, answer.codes)),
            "yes" if "netem" in answer.qdiscs else "NO",
            f"{answer.rtt_ms:.2f} ms",
            answer.said or "(nothing)",
        ]
        for answer in found
    ]
    return table(["way", "exit code", "netem in kernel", "ping", "last line of error"], rows)


def quiet_line(bare: Flowed, shaped: Flowed, packets_per_s: int) -> str:
    """What the traffic generator loses by itself."""
    rate = (bare.sent + shaped.sent) / (bare.flowed_s + shaped.flowed_s)
    return paragraph(
        f"""The generator alone (asked {packets_per_s:,}, sent {rate:,.0f} packets/s of 214-byte frames): on the bare
        interface {bare.lost:,} of {bare.sent:,} packets lost in {bare.acts} windows; shaped by tc and left alone
        {shaped.lost:,} of {shaped.sent:,} in {shaped.acts}. Dropped for want of a receive buffer:
        {bare.receiver_drops + shaped.receiver_drops}."""
    )


def plain(**parts: Any) -> dict[str, Any]:
    """As JSON holds it: every raw figure by section and way."""
    return {name: _plain(part) for name, part in parts.items()}


def _plain(part: Any) -> Any:
    if isinstance(part, dict):
        return {str(key): _plain(value) for key, value in part.items()}
    if isinstance(part, (list, tuple)):
        return [_plain(each) for each in part]
    return asdict(part) if hasattr(part, "__dataclass_fields__") else part
