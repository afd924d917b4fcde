from __future__ import annotations

import csv
import io
from dataclasses import replace

import pytest
from rich.console import Console

from slicebed.testbed.verify.table import links_table, other_lines, summary, to_csv
from slicebed.testbed.verify.verdict import Quantity, Verdict, parse_verdict

RTT = Verdict(
    link="client -> edge", quantity=Quantity.RTT, asked=7.68, expected=7.68, measured=7.71, low=7.55, high=7.87,
    tolerance=0.3, samples=800, wire="tap", base_ms=0.31, passed=True,
)  # fmt: skip
JITTER = replace(RTT, quantity=Quantity.JITTER, asked=2.49, expected=2.49, measured=3.2, passed=False, detail="why")
GOODPUT = replace(RTT, quantity=Quantity.GOODPUT, asked=89.9, expected=85.98, measured=85.5, low=85.1, high=85.9)
BACK = replace(GOODPUT, link="edge -> client")
LOSS = replace(RTT, quantity=Quantity.LOSS, asked=0.01, expected=0.01, measured=0.0112, low=0.008, high=0.0132)
ORDER = replace(LOSS, quantity=Quantity.REORDER)
CLOCK = replace(RTT, link="edge", quantity=Quantity.FREQUENCY, asked=3100, expected=3100, measured=3099, wire="host")
ALL = (RTT, JITTER, GOODPUT, BACK, LOSS, ORDER, CLOCK)


def printed(*parts):
    console = Console(width=120, file=io.StringIO(), highlight=False)
    for part in parts:
        console.print(part)
    return console.file.getvalue()


def test_a_link_is_one_row_with_asked_measured_interval_and_verdict_in_120_columns():
    lines = printed(links_table(ALL)).splitlines()
    row = next(line for line in lines if line.strip().startswith("client -> edge")).split()
    assert row == [
        "client", "->", "edge", "7.68", "7.71", "pass", "2.49", "3.20", "FAIL", "89.90", "85.98", "85.50", "pass",
        "1.00", "1.12", "pass",
    ]  # fmt: skip
    below = lines[next(i for i, line in enumerate(lines) if "client -> edge" in line) + 1]
    assert "(tap)" in below
    assert "n=800" in below
    assert "7.55-7.87" in below
    assert any(line.split()[:3] == ["edge", "->", "client"] for line in lines)
    assert max(len(line.rstrip()) for line in lines) <= 120


def test_what_has_no_column_or_failed_gets_a_line():
    lines = [line.plain for line in other_lines(ALL)]
    assert len(lines) == 3
    assert lines[0].startswith("FAIL  client -> edge: jitter asked 2.49 ms, measured 3.20")
    assert lines[0].endswith("800 samples; why")
    assert lines[1].startswith("pass  client -> edge: reordering asked 1.00 %, measured 1.12 (0.80 to 1.32)")
    assert lines[2].startswith("pass  edge: frequency asked 3100 MHz, measured 3099")


@pytest.mark.parametrize(
    ("verdicts", "says"),
    [
        (ALL, "6 of 7 verdicts passed, 1 failed."),
        ((RTT,), "1 of 1 verdicts passed."),
        ((), "Nothing was asked that could be measured."),
    ],
)
def test_the_summary_counts(verdicts, says):
    assert summary(verdicts).plain == says


def test_names_with_brackets_are_shown_as_they_are():
    odd = replace(RTT, link="[red]a -> b", detail="[bold]", passed=False)
    assert "[red]a -> b" in printed(links_table([odd]))
    assert "[bold]" in printed(*other_lines([odd]))


def test_csv_holds_every_field_in_full():
    rows = list(csv.DictReader(io.StringIO(to_csv(ALL))))
    assert len(rows) == len(ALL)
    assert rows[0]["measured"] == "7.71"
    assert rows[1] | {"passed": "False", "detail": "why"} == rows[1]
    assert [parse_verdict(each.to_plain()) for each in ALL] == list(ALL)
