"""A running stream on the terminal: a live table of every stage and link, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from slicebed.cli._console import console
from slicebed.run.stream.start import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slicebed.run.stream.figures import HostFigures, LinkFigures, StageFigures, StreamFigures
    from slicebed.run.stream.timeline import Event

_LINES_EVERY_S = 5.0
_LAST_EVENTS = 6
_GAP: Final = 2
_NAMES: Final = frozenset({"host", "stage", "link"})
_STAGE_COLUMNS: Final = (
    "host", "stage", "frames", "frame/s", "queue", "wait ms", "compute ms", "dropped", "failed", "CPU %", "MB",
)  # fmt: skip
_LINK_COLUMNS: Final = (
    "link", "frame/s", "Mbit/s", "send ms", "RTT ms", "clock ms", "codec", "raw kB", "sent kB", "queue", "dropped",
    "reopened",
)  # fmt: skip
# Left out of a narrow table, in this order.
_STAGE_SPARE: Final = ("frames", "failed", "MB", "wait ms", "CPU %", "queue", "dropped")
_LINK_SPARE: Final = ("clock ms", "reopened", "raw kB", "queue", "frame/s", "codec", "RTT ms", "dropped")

Row = dict[str, str]


class StreamConsole(Watcher):
    """Shows a stream on stderr; stdout stays free for what was asked for."""

    def __init__(self) -> None:
        """Nothing is shown before `shown` begins."""
        self._console = console(stderr=True)
        self._live: Live | None = None
        self._events: list[str] = []
        self._told_s = float("-inf")

    @contextmanager
    def shown(self) -> Iterator[StreamConsole]:
        """Show it while the block runs; the last table stays on the terminal."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, auto_refresh=False) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def say(self, text: str) -> None:
        """What is being waited for, on a terminal only."""
        if self._live is not None:
            self._live.update(Text(text[: self._console.width - 1]), refresh=True)

    def event(self, event: Event) -> None:
        """A line of the timeline."""
        self._events = [*self._events, str(event)][-_LAST_EVENTS:]
        if self._live is None:
            self._console.print(str(event), markup=False, soft_wrap=True)

    def figures(self, figures: StreamFigures) -> None:
        """The table anew, or every few seconds a line of each host."""
        if self._live is not None:
            self._live.update(
                Group(stream_table(figures, self._console.width), Text("\n".join(self._events))), refresh=True
            )
        elif time.monotonic() - self._told_s >= _LINES_EVERY_S:
            self._told_s = time.monotonic()
            for line in stream_lines(figures):
                self._console.print(line, markup=False, soft_wrap=True)


def stream_table(figures: StreamFigures, width: int) -> Group:
    """Totals, stages and links of a stream; where they are wider than the terminal, columns are left out.

    Args:
        figures: of its last interval.
        width: of the terminal, in characters.
    """
    head = Text(f"{_head_line(figures)}\n{_counts(figures)}", style="bold", no_wrap=True, overflow="ellipsis")
    stages = [row for host in figures.hosts for row in _stage_rows(host)]
    links = [_link_row(host.host, host.link) for host in figures.hosts if host.link is not None]
    notes = [
        Text(f"{host.host} - {host.link.peer}: {host.link.note}", style="yellow", no_wrap=True, overflow="ellipsis")
        for host in figures.hosts
        if host.link is not None and host.link.note
    ]
    troubles = [Text(f"{host.host}: {host.trouble}", style="red") for host in figures.hosts if host.trouble]
    return Group(
        head,
        _fitted(stages, _STAGE_COLUMNS, _STAGE_SPARE, width),
        _fitted(links, _LINK_COLUMNS, _LINK_SPARE, width),
        *notes,
        *troubles,
    )


def stream_lines(figures: StreamFigures) -> list[str]:
    """The same, a line for the whole, for each host and for each link."""
    lines = [totals_line(figures)]
    for host in figures.hosts:
        said = "; ".join(_stage_line(stage) for stage in host.stages) or "no stages"
        lines.append(f"  {host.host}: {host.trouble or said}{_usage_line(host)}")
        if host.link is not None:
            lines.append(f"  {_link_line(host.host, host.link)}")
            if host.link.note:
                lines.append(f"  {host.host} - {host.link.peer}: {host.link.note}")
    return lines


def totals_line(figures: StreamFigures) -> str:
    """The whole stream in a line."""
    return f"{figures.since_s:.0f} s  cut {figures.cut}: {_counts(figures)}; {_latency(figures)}"


def _head_line(figures: StreamFigures) -> str:
    # The cut is last: of a narrow line, the end of its name is cut off.
    return f"{figures.since_s:.0f} s  {_latency(figures)}  cut {figures.cut}"


def _counts(figures: StreamFigures) -> str:
    early = f", {figures.early} of them early" if figures.early else ""
    return (
        f"{figures.captured} captured, {figures.completed} completed{early}, {figures.dropped} dropped,"
        f" {figures.failed} failed"
    )


def _latency(figures: StreamFigures) -> str:
    return f"latency p50 {_number(figures.latency_p50_ms)} ms, p95 {_number(figures.latency_p95_ms)} ms"


def event_line(event: Mapping[str, Any]) -> str:
    """An event as the socket carries it, in a line."""
    facts = ", ".join(f"{key} {value}" for key, value in event.items() if key not in {"at_s", "event"} and value != "")
    return f"{event['at_s']:8.1f} s  {event['event']}" + (f": {facts}" if facts else "")


def _fitted(rows: Sequence[Row], titles: Sequence[str], spare: Sequence[str], width: int) -> Table:
    """A table that is not wider than the terminal, as far as columns can be spared."""
    shown = list(titles)
    for title in spare:
        if sum(max((len(each), *(len(row[each]) for row in rows))) + _GAP for each in shown) - _GAP <= width:
            break
        shown.remove(title)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in shown:
        table.add_column(title, justify="left" if title in _NAMES else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(row[title] for title in shown))
    return table


def _stage_rows(host: HostFigures) -> Iterator[Row]:
    usage = {"CPU %": _number(host.cpu_percent, 0), "MB": _megabytes(host.memory_bytes)}
    blank = dict.fromkeys(_STAGE_COLUMNS, "")
    if not host.stages:
        yield {**blank, "host": host.host, "stage": "(trouble)" if host.trouble else "camera", **usage}
    for number, stage in enumerate(host.stages):
        yield {
            **blank,
            "stage": stage.name,
            "frames": str(stage.frames),
            "frame/s": f"{stage.frames_per_s:.1f}",
            "queue": str(stage.queued),
            "wait ms": _number(stage.queue_wait_ms),
            "compute ms": _number(stage.compute_ms),
            "dropped": str(stage.dropped),
            "failed": str(stage.failed),
            **({"host": host.host, **usage} if number == 0 else {}),
        }


def _link_row(host: str, link: LinkFigures) -> Row:
    return {
        "link": f"{host} - {link.peer}" + ("" if link.connected else " (broken)"),
        "frame/s": f"{link.frames_per_s:.1f}",
        "Mbit/s": _rate(link),
        "send ms": _number(link.send_ms),
        "RTT ms": _number(link.round_trip_ms or None, 2),
        "clock ms": _clock(link),
        "codec": link.codec,
        "raw kB": _kilobytes(link.bytes_before),
        "sent kB": _kilobytes(link.bytes_after),
        "queue": str(link.queued),
        "dropped": str(link.dropped),
        "reopened": str(link.reconnects),
    }


def _stage_line(stage: StageFigures) -> str:
    return (
        f"{stage.name} {stage.frames_per_s:.1f} frame/s, queue {stage.queued}, wait {_number(stage.queue_wait_ms)} ms,"
        f" compute {_number(stage.compute_ms)} ms, {stage.dropped} dropped"
    )


def _link_line(host: str, link: LinkFigures) -> str:
    return (
        f"{host} - {link.peer}: {'connected' if link.connected else 'broken'}, {_rate(link)} Mbit/s,"
        f" send {_number(link.send_ms)} ms, RTT {_number(link.round_trip_ms or None, 2)} ms, clock {_clock(link)} ms,"
        f" {link.codec} {link.bytes_before} to {link.bytes_after} bytes, {link.dropped} dropped,"
        f" opened again {link.reconnects} times"
    )


def _usage_line(host: HostFigures) -> str:
    if host.cpu_percent is None:
        return ""
    return f"; CPU {host.cpu_percent:.0f} %, {_megabytes(host.memory_bytes)} MB"


def _rate(link: LinkFigures) -> str:
    return f"{link.rate_bit_per_s / 1e6:.1f}" if link.rate_bit_per_s else "-"


def _clock(link: LinkFigures) -> str:
    return f"{link.clock_offset_ms:+.2f} ±{link.clock_bound_ms:.2f}" if link.clock_bound_ms else "-"


def _kilobytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e3:.1f}" if size_bytes else "-"


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f}" if size_bytes else "-"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
