"""Rendering shared by the verbs: one console on stderr for what goes on, stdout for what was asked for."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

from slicebed.run.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.run.probe import LinkVerdict
    from slicebed.spec.order import PlannedRun

_WIDTH_WITHOUT_TERMINAL = 120
# Leaves room for the bar in a terminal of 120 columns.
_LONGEST_DESCRIPTION = 60
# In a log, which shows no bar, the time left stands after so many.
_EVERY_CELLS = 10


def console(*, stderr: bool = False) -> Console:
    """A console that is readable in a terminal, in a file and in a log."""
    stream = sys.stderr if stderr else sys.stdout
    return Console(stderr=stderr, highlight=False, width=None if stream.isatty() else _WIDTH_WITHOUT_TERMINAL)


def print_json(value: Any) -> None:
    """Print JSON on standard output, alone."""
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


class ConsoleProgress(Progress):
    """A line per event that is worth keeping, and on a terminal a bar with the time left."""

    def __init__(self) -> None:
        """Write to stderr, so that --json keeps stdout to itself."""
        self._console = console(stderr=True)
        self._bar = RichProgress(
            TextColumn("{task.description}", table_column=None),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TextColumn("runs, left"),
            TimeRemainingColumn(elapsed_when_finished=True),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task = self._bar.add_task("", total=None)
        self._current = ""

    def begin(self, campaign: str, runs: int, done: int) -> None:
        """Name the campaign and start the bar."""
        resumed = f", {done} of them done before" if done else ""
        self._console.print(f"Campaign [bold]{campaign}[/]: {runs} runs{resumed}")
        self._bar.reset(self._task, total=runs, completed=done)
        self._bar.start()

    def say(self, text: str) -> None:
        """Show what is being waited for, on a terminal only."""
        self._bar.start()
        self._bar.update(self._task, description=text[:_LONGEST_DESCRIPTION])

    def verdicts(self, configuration: str, verdicts: Sequence[LinkVerdict]) -> None:
        """One line per link: asked, measured, verdict."""
        for v in verdicts:
            word = "[green]pass[/]" if v.passed else "[red]fail[/]"
            self._bar.console.print(
                f"  configuration {configuration}, {v.a} - {v.b} ({v.wire}): round trip asked {v.asked_rtt_ms:.1f} ms,"
                f" measured {v.median_rtt_ms:.1f} (median of {v.samples}, p95 {v.p95_rtt_ms:.1f}): {word}",
                soft_wrap=True,
            )

    def run_begins(self, run: PlannedRun) -> None:
        """Show the run."""
        self._current = f"configuration {run.configuration.name}, {run.title}"
        self.say(self._current)

    def frames(self, ended: int) -> None:
        """Show how many frames have ended."""
        count = f": {ended} frames"
        self.say(self._current[: _LONGEST_DESCRIPTION - len(count)] + count)

    def run_ends(self, run: PlannedRun, manifest: dict[str, Any]) -> None:
        """One line per run."""
        frames = manifest["frames"]
        self._bar.console.print(
            f"  configuration {run.configuration.name}, {run.title}: {frames['completed']:>3} completed,"
            f" {frames['dropped']:>3} dropped, {frames['failed']} failed in {manifest['total_time_s']:.1f} s",
            soft_wrap=True,
        )
        self._bar.advance(self._task)

    def search_begins(self, campaign: str, problems: int, candidates: int, done: int) -> None:
        """Name the search and start the bar."""
        resumed = f", {done} cells done before" if done else ""
        told = f"{candidates} candidates of {problems} problem{'s' if problems > 1 else ''}"
        self._console.print(f"Search [bold]{campaign}[/]: {told}{resumed}")
        self._bar.start()

    def cells(self, done: int, left: int, left_s: float | None) -> None:
        """Show how far the asked cells are, and at times how long they will take by those that were measured."""
        self._bar.update(self._task, total=done + left, completed=done)
        took = "" if left_s is None else f", about {max(1, round(left_s / 60))} min"
        if left and done % _EVERY_CELLS == 0:
            self._bar.console.print(f"  {done} cells done, {left} asked for{took}")

    def end(self) -> None:
        """Take the bar away."""
        self._bar.stop()
