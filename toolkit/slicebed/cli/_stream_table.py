"""A running stream on the terminal: a live table of every stage and link, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from slicebed.cli._console import console
from slicebed.run.stream.start import Watcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from slicebed.run.stream.figures import HostFigures, LinkFigures, StageFigures, StreamFigures
    from slicebed.run.stream.timeline import Event

_LINES_EVERY_S = 5.0
_LAST_EVENTS = 6


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
            self._live.update(Group(stream_table(figures), Text("\n".join(self._events))), refresh=True)
        elif time.monotonic() - self._told_s >= _LINES_EVERY_S:
            self._told_s = time.monotonic()
            for line in stream_lines(figures):
                self._console.print(line, markup=False, soft_wrap=True)


def stream_table(figures: StreamFigures) -> Group:
    """Totals, stages and links of a stream."""
    stages = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("host", "stage"):
        stages.add_column(title, no_wrap=True)
    for title in ("frames", "frame/s", "queue", "wait ms", "compute ms", "dropped", "failed", "CPU %", "MB"):
        stages.add_column(title, justify="right", no_wrap=True)
    for host in figures.hosts:
        _add_host(stages, host)
    links = Table(box=None, pad_edge=False, header_style="bold")
    links.add_column("link", no_wrap=True)
    for title in (
        "frame/s",
        "Mbit/s",
        "send ms",
        "RTT ms",
        "clock ms",
        "codec",
        "bytes",
        "sent",
        "queue",
        "dropped",
        "again",
    ):
        links.add_column(title, justify="right", no_wrap=True)
    for host in figures.hosts:
        if host.link is not None:
            links.add_row(*_link_row(host.host, host.link))
    return Group(Text(totals_line(figures), style="bold"), stages, links)


def stream_lines(figures: StreamFigures) -> list[str]:
    """The same, a line for the whole, for each host and for each link."""
    lines = [totals_line(figures)]
    for host in figures.hosts:
        said = "; ".join(_stage_line(stage) for stage in host.stages) or "no stages"
        lines.append(f"  {host.host}: {host.trouble or said}{_usage_line(host)}")
        if host.link is not None:
            lines.append(f"  {_link_line(host.host, host.link)}")
    return lines


def totals_line(figures: StreamFigures) -> str:
    """The whole stream in a line."""
    early = f", {figures.early} of them early" if figures.early else ""
    return (
        f"{figures.since_s:.0f} s  cut {figures.cut}: {figures.captured} captured,"
        f" {figures.completed} completed{early},"
        f" {figures.dropped} dropped, {figures.failed} failed; latency p50 {_number(figures.latency_p50_ms)} ms,"
        f" p95 {_number(figures.latency_p95_ms)} ms"
    )


def event_line(event: Mapping[str, Any]) -> str:
    """An event as the socket carries it, in a line."""
    facts = ", ".join(f"{key} {value}" for key, value in event.items() if key not in {"at_s", "event"} and value != "")
    return f"{event['at_s']:8.1f} s  {event['event']}" + (f": {facts}" if facts else "")


def _add_host(table: Table, host: HostFigures) -> None:
    usage = (_number(host.cpu_percent, 0), _megabytes(host.memory_bytes))
    if host.trouble:
        table.add_row(host.host, Text(host.trouble, style="red", overflow="ellipsis"), *[""] * 7, *usage)
    first = not host.trouble
    for stage in host.stages or ():
        table.add_row(
            host.host if first else "",
            stage.name,
            str(stage.frames),
            f"{stage.frames_per_s:.1f}",
            str(stage.queued),
            _number(stage.queue_wait_ms),
            _number(stage.compute_ms),
            str(stage.dropped),
            str(stage.failed),
            *(usage if first else ("", "")),
        )
        first = False
    if first:
        table.add_row(host.host, "camera", *[""] * 7, *usage)


def _link_row(host: str, link: LinkFigures) -> tuple[str, ...]:
    return (
        f"{host} - {link.peer}" + ("" if link.connected else " (broken)"),
        f"{link.frames_per_s:.1f}",
        _rate(link),
        _number(link.send_ms),
        _number(link.round_trip_ms or None, 2),
        _clock(link),
        link.codec,
        str(link.bytes_before),
        str(link.bytes_after),
        str(link.queued),
        str(link.dropped),
        str(link.reconnects),
    )


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


def _megabytes(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.0f}" if size_bytes else "-"


def _number(value: float | None, digits: int = 1) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
