"""What whoever waits for a run sees on a terminal."""

from __future__ import annotations

import io
from types import SimpleNamespace

from slicebed.cli._console import ConsoleProgress


class Terminal(io.StringIO):
    """Keeps what a terminal would show."""

    def isatty(self):
        return True


def test_frames_are_counted_however_long_the_name_of_their_run_is(monkeypatch):
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr("sys.stderr", terminal)
    title = "placement sliced, cut block_12_expand_relu, lossless, edge.cores=1"
    progress = ConsoleProgress()
    progress.run_begins(SimpleNamespace(configuration=SimpleNamespace(name="high"), title=title))
    progress.frames(1234)
    progress.end()
    shown = terminal.getvalue()
    assert "configuration high, placement sliced" in shown
    assert ": 1234 frames" in shown


def test_in_a_log_a_run_is_one_line_however_long_its_name_is(monkeypatch):
    log = io.StringIO()
    monkeypatch.setattr("sys.stderr", log)
    run = SimpleNamespace(configuration=SimpleNamespace(name="high"), title=f"placement sliced, cut {'x' * 90}")
    progress = ConsoleProgress()
    progress.run_ends(run, {"frames": {"completed": 12, "dropped": 3, "failed": 0}, "total_time_s": 11.42})
    progress.end()
    (line,) = log.getvalue().splitlines()
    assert line == f"  configuration high, {run.title}:  12 completed,   3 dropped, 0 failed in 11.4 s"
