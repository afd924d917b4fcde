"""A profile as JSON, and back."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import pytest

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.profile.record import (
    HostFacts,
    OperatorTime,
    OperatorTimes,
    ProcessMemory,
    Profile,
    Segment,
    Settings,
    Sum,
    read_profile,
)
from slicebed_agent.model.profile.statistics import estimate

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def segment(name: str, *operators: str, memory: ProcessMemory | None = None) -> Segment:
    spent = (0.1, 0.2, 0.4)
    return Segment(name, operators, ("in:0",), ("out:0",), 10, 5, 20, 40, estimate(spent), spent, memory)


@pytest.fixture
def profile() -> Profile:
    memory = ProcessMemory(20, 400, 300, 500)
    host = HostFacts("x86_64", None, (0, 3), 2, (2100.0, 2100.5), None, 0.5, 1.5, {"tensorflow": "2.21.0"}, "0")
    spent, nothing = estimate([1.0, 2.0]), estimate([0.0])
    return Profile(
        *("tiny", "seed 7", "ab" * 32),
        settings=Settings("safe", "op", 3, 2, 1, 0),
        host=host,
        whole=segment("end", "in", "middle", "end"),
        segments=(segment("middle", "in", "middle", memory=memory), segment("end", "end")),
        sum=Sum(spent, spent, spent, spent),
        operators=OperatorTimes(
            (
                OperatorTime("in", None, nothing, nothing),
                OperatorTime("middle", "end", nothing, nothing),
                OperatorTime("end", "end", spent, spent),
            ),
            *(spent, spent, spent, spent, spent),
        ),
    )


def test_what_is_written_is_read(profile: Profile) -> None:
    text = profile.to_json()
    assert Profile.from_json(text, where="here") == profile
    assert Profile.from_json(text, where="here").to_json() == text


def test_the_fields_of_the_file_are_those_of_the_classes(profile: Profile) -> None:
    """Stable: a predictor on another machine reads them."""
    row = json.loads(profile.to_json())
    assert set(row) == {
        "format",
        "model",
        "weights",
        "graph_sha256",
        "settings",
        "host",
        "whole",
        "segments",
        "sum",
        "operators",
    }
    assert row["format"] == 1
    assert set(row["sum"]) == {"time_s", "to_whole", "call_s", "without_calls_to_whole"}
    assert row["segments"][1]["time_s"].keys() == {"median", "low", "high"}
    assert set(row["segments"][0]) == {each.name for each in dataclasses.fields(Segment)}
    assert row["operators"]["rows"][1].keys() == {"name", "kernel", "time_s", "busy_s"}


def test_what_a_later_version_adds_is_passed_over(profile: Profile) -> None:
    row = json.loads(profile.to_json())
    for part in (
        row,
        row["sum"],
        row["host"],
        row["settings"],
        row["whole"],
        row["segments"][0]["memory"],
        row["operators"],
    ):
        part["energy_j"] = 1.0
    assert Profile.from_json(json.dumps(row), where="here") == profile


def test_a_profile_without_operators_is_read(profile: Profile) -> None:
    row = json.loads(profile.to_json())
    del row["operators"]  # as an earlier version wrote it
    assert Profile.from_json(json.dumps(row), where="here") == dataclasses.replace(profile, operators=None)


def spoil(row: dict[str, Any]) -> None:
    row["whole"]["time_s"]["median"] = "fast"


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda row: row.update(format=2), "format 2, this version reads 1"),
        (lambda row: row.pop("segments"), "segments"),
        (lambda row: row["sum"].pop("call_s"), "call_s"),
        (lambda row: row.update(host=None), "NoneType"),
        (spoil, "fast"),
        (lambda row: row["operators"]["rows"][0].pop("kernel"), "kernel"),
        (lambda row: row.update(operators=[]), "rows|list"),
    ],
)
def test_a_spoiled_profile_is_one_line(
    tmp_path: Path, profile: Profile, damage: Callable[[dict[str, Any]], object], told: str
) -> None:
    row = json.loads(profile.to_json())
    damage(row)
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(row))
    with pytest.raises(AgentConfigError, match=told) as caught:
        read_profile(path)
    assert str(caught.value).startswith(f"{path}: not a profile: ")


def test_a_file_that_is_none_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AgentConfigError, match="cannot read it"):
        read_profile(tmp_path / "none.json")
    (tmp_path / "truncated.json").write_text('{"format": 1')
    with pytest.raises(AgentConfigError, match="not a profile"):
        read_profile(tmp_path / "truncated.json")
    (tmp_path / "other.json").write_text("[1]")
    with pytest.raises(AgentConfigError, match="not a profile"):
        read_profile(tmp_path / "other.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(AgentConfigError, match="cannot read it"):
        read_profile(tmp_path / "binary.json")
