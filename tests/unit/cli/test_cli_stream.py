"""`slicebed stream` on the command line: its errors, and what it shows of a stream."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from slicebed.cli._stream_table import StreamConsole, event_line, stream_lines, stream_table
from slicebed.run.stream.figures import HostFigures, LinkFigures, StageFigures, StreamFigures
from slicebed.run.stream.timeline import Timeline

SLICEBED = Path(sys.executable).parent / "slicebed"
LINK = LinkFigures(
    peer="edge",
    connected=True,
    frames_per_s=24.0,
    rate_bit_per_s=50_000_000,
    send_ms=8.5,
    round_trip_ms=42.4,
    clock_offset_ms=-1.25,
    clock_bound_ms=0.3,
    codec="lossless",
    bytes_before=400_000,
    bytes_after=150_000,
    queued=2,
    dropped=5,
    reconnects=1,
)
FIGURES = StreamFigures(
    "block_2_add-block_12_add",
    61.0,
    captured=1464,
    completed=1400,
    dropped=60,
    failed=1,
    early=300,
    latency_p50_ms=81.26,
    latency_p95_ms=99.9,
    hosts=(
        HostFigures(
            "client",
            stages=(
                StageFigures("transformer", 1464, 24.0, 0, 0.1, 3.2, 0, 0),
                StageFigures("slice", 1404, 23.9, 1, 1.5, 12.3, 60, 0),
            ),
            link=LINK,
            cpu_percent=87.4,
            memory_bytes=612_000_000,
        ),
        HostFigures("edge", trouble="no answer (closed)"),
        HostFigures("cloud", stages=(StageFigures("slice", 1400, 23.9, 0, None, None, 0, 1),), memory_bytes=0),
    ),
)


def stream(*arguments, tmp_path):
    return subprocess.run(
        [SLICEBED, "stream", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--set-cut", "a,b"], 3, "no stream runs on the hosts of this inventory; start one: slicebed stream"),
        (["--status"], 3, "no stream runs"),
        (["--stop"], 3, "no stream runs"),
        (["--status", "--stop"], 2, "one thing at a time"),
        (["--status", "--model", "cnn14"], 2, "--model is of a stream that begins"),
        (["--set-cut", "a,b", "--no-deploy"], 2, "--deploy is of a stream that begins"),
        ([], 2, "which model?"),
        (["--model", "cnn14", "--cut", "1-8", "--adapt"], 2, "--candidates is missing"),
        (["--model", "cnn14", "--cut", "1-8", "--candidates", "3-8"], 2, "--adapt is missing"),
        (["--model", "cnn14", "--cut", "8-1"], 2, "--cut: the edge cut (1) is not after the client cut (8)"),
        (["--model", "cnn14", "--cut", "1-8", "-t", "/no/testbed.yml"], 2, "/no/testbed.yml"),
        (["--experiment", "/no/file.yml", "-t", "x.yml"], 2, "--testbed besides --experiment"),
        (["--experiment", "/no/file.yml"], 2, "/no/file.yml"),
    ],
)
def test_a_mistake_is_one_line_with_its_exit_code(arguments, code, said, tmp_path):
    done = stream(*arguments, tmp_path=tmp_path)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("slicebed: ")


def rendered(width=160):
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(stream_table(FIGURES, width))
    return console.export_text().splitlines()


def test_the_table_has_every_stage_and_link():
    lines = rendered()
    assert lines[0].rstrip() == "61 s  latency p50 81.3 ms, p95 99.9 ms  cut block_2_add-block_12_add"
    assert lines[1].rstrip() == "1464 captured, 1400 completed, 300 of them early, 60 dropped, 1 failed"
    (row,) = [line.split() for line in lines if line.split()[:1] == ["slice"]]
    assert row == ["slice", "1404", "23.9", "1", "1.5", "12.3", "60", "0"]
    (client,) = [line.split() for line in lines if line.startswith("client  ")]
    assert client[:2] == ["client", "transformer"]
    assert client[-2:] == ["87", "612"]
    assert [line.rstrip() for line in lines if line.startswith("edge:")] == ["edge: no answer (closed)"]
    (link,) = [line.split() for line in lines if line.startswith("client - edge")]
    assert link[3:] == ["24.0", "50.0", "8.5", "42.40", "-1.25", "±0.30", "lossless", "400.0", "150.0", "2", "5", "1"]


@pytest.mark.parametrize("width", [60, 80, 100, 120])
def test_a_narrow_table_leaves_columns_out_and_cuts_no_heading(width):
    lines = [line.rstrip() for line in rendered(width)]
    assert max(map(len, lines)) <= width
    # Two lines of totals, a heading and four stages, a heading and a link, and the trouble: nothing is wrapped.
    assert len(lines) == 10
    stages, links = (lines[number].split("  ") for number in (2, 7))
    assert {"host", "stage", "compute ms"} <= {title.strip() for title in stages}
    assert {"link", "Mbit/s", "send ms", "sent kB"} <= {title.strip() for title in links}
    assert not any("…" in line for line in lines[2:])
    assert ("clock ms" in lines[7]) == (width == 120)


def test_without_a_terminal_there_are_lines():
    lines = stream_lines(FIGURES)
    assert lines[1].startswith("  client: transformer 24.0 frame/s, queue 0, wait 0.1 ms, compute 3.2 ms, 0 dropped;")
    assert lines[1].endswith("CPU 87 %, 612 MB")
    assert "client - edge: connected, 50.0 Mbit/s" in lines[2]
    assert lines[3] == "  edge: no answer (closed)"
    assert "wait - ms, compute - ms" in lines[4]


def test_a_links_note_is_below_the_table_and_among_the_lines():
    client, *others = FIGURES.hosts
    noted = replace(client, link=replace(LINK, note="auto stays raw: nobody gave a rate"))
    figures = replace(FIGURES, hosts=(noted, *others))
    console = Console(width=80, record=True, file=io.StringIO())
    console.print(stream_table(figures, 80))
    said = "client - edge: auto stays raw: nobody gave a rate"
    assert said in [line.rstrip() for line in console.export_text().splitlines()]
    assert f"  {said}" in stream_lines(figures)


def test_nothing_is_written_on_stdout_and_events_come_at_once(capsys):
    with StreamConsole().shown() as shown:
        shown.event(Timeline(lambda _: None).note("cut switched", first_frame=7))
        shown.figures(FIGURES)
        shown.figures(FIGURES)
    said = capsys.readouterr()
    assert said.out == ""
    assert "cut switched: first_frame 7" in said.err
    # The second comes too soon after the first to be told.
    assert said.err.count("1464 captured") == 1


def test_an_event_of_the_socket_is_a_line():
    assert event_line({"at_s": 3.21, "event": "cut prepared", "host": "edge", "prepare_s": 0.5}).split() == [
        "3.2", "s", "cut", "prepared:", "host", "edge,", "prepare_s", "0.5",
    ]  # fmt: skip
