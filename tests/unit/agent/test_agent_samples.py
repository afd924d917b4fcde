"""The spool file and the account of frames: whole lines whatever the disk does, and nothing kept of what is over."""

from __future__ import annotations

import contextlib
import json
import resource
import signal

import pytest

from slicebed_agent.errors import AgentError
from slicebed_agent.pipeline.contracts import End, Ending, Frame, Left, StageTimes
from slicebed_agent.pipeline.ledger import Ledger
from slicebed_agent.pipeline.samples import Spool


@contextlib.contextmanager
def _files_of_at_most(limit_bytes):
    """The kernel refuses to write beyond: as a full disk does, in another word."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def _lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_refused_line_is_told_once_and_whole_lines_stay(tmp_path):
    told = []
    spool = Spool(tmp_path / "s.jsonl", told.append)
    spool.begin({"kind": "header"})
    with _files_of_at_most(1000):
        for number in range(100):
            spool.write({"kind": "frame", "number": number, "filler": "x" * 40})
    assert told == ["samples cannot be written: File too large"]
    spool.close({"kind": "footer"})
    lines = _lines(tmp_path / "s.jsonl")
    assert [line["number"] for line in lines[1:-1]] == list(range(len(lines) - 2))
    assert lines[-1] == {"kind": "footer", "lost": 100 - (len(lines) - 2)}
    assert spool.lines == len(lines)


def test_a_last_line_that_is_refused_too_does_not_keep_the_run_from_ending(tmp_path):
    spool = Spool(tmp_path / "s.jsonl")
    with _files_of_at_most(100):
        for number in range(10):
            spool.write({"number": number, "filler": "x" * 20})
        spool.close({"kind": "footer", "filler": "x" * 100})
    assert [line["number"] for line in _lines(tmp_path / "s.jsonl")] == [0, 1]
    assert spool.lost == 9


def test_a_file_that_cannot_be_begun_is_one_line(tmp_path):
    spool = Spool(tmp_path / "s.jsonl")
    with _files_of_at_most(5), pytest.raises(AgentError, match="cannot write samples: File too large"):
        spool.begin({"kind": "header"})
    (tmp_path / "file").write_text("")
    with pytest.raises(AgentError, match="cannot write samples: File exists"):
        Spool(tmp_path / "file" / "s.jsonl")


def _ledger(tmp_path, sink=lambda _, ending: ending.end):
    return Ledger("run", "edge", Spool(tmp_path / "s.jsonl"), sink)


def test_frames_that_are_over_leave_nothing_but_counts(tmp_path):
    import tracemalloc

    ledger = _ledger(tmp_path)
    done = Ending(End.COMPLETED, "cloud", "answer", exit="exit")

    def frames(first, last):
        for number in range(first, last):
            frame = Frame(number, 0, 0, "source", stages={"slice": StageTimes(1)})
            ledger.opened(frame)
            ledger.left(frame, Left.SENT)
            ledger.ended(number, done)

    frames(0, 1000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        frames(1000, 3000)
        assert tracemalloc.get_traced_memory()[0] - before < 50_000
    finally:
        tracemalloc.stop()
    counted = ledger.counted()
    assert (counted.captured, counted.completed, counted.early, counted.ended_below) == (3000,) * 4


def test_the_drain_waits_for_the_last_frame_of_the_old_cut(tmp_path):
    ledger = _ledger(tmp_path)
    frames = [Frame(number, 0, 0, "source", version=number // 2) for number in range(4)]
    for frame in frames:
        ledger.opened(frame)
    done = Ending(End.COMPLETED, "cloud", "answer")
    for number in (1, 3):
        ledger.left(frames[number], Left.SENT)
        ledger.ended(number, done)
    assert ledger.counted().ended_below == 0
    assert not ledger.wait_passed(1, 0.01)
    ledger.left(frames[0], Left.SENT)
    assert not ledger.wait_passed(1, 0.01)
    ledger.ended(0, done)
    assert ledger.counted().ended_below == 2
    assert ledger.wait_passed(1, 0.01)
