from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from slicebed.errors import SpecError
from slicebed.testbed.verify.store import digest, read_verdicts, write_verdicts
from slicebed.testbed.verify.verdict import Quantity, Verdict

WHEN = datetime(2026, 11, 21, 22, 0, tzinfo=UTC)
VERDICT = Verdict(
    link="edge -> cloud",
    quantity=Quantity.RTT,
    asked=42.46,
    expected=42.46,
    measured=42.5,
    low=42.4,
    high=42.6,
    tolerance=0.85,
    samples=1674,
    wire="netem",
    base_ms=None,
    passed=True,
    detail="median 42.48",
)


def test_verdicts_come_back_as_they_were_and_an_older_file_is_replaced(tmp_path):
    path = tmp_path / "deep" / "verdicts.json"
    failed = replace(VERDICT, passed=False, base_ms=0.4)
    write_verdicts(path, [VERDICT], digest({}), WHEN)
    assert read_verdicts(path).passed
    write_verdicts(path, [VERDICT, failed], digest({"edge": 1}), WHEN)
    found = read_verdicts(path)
    assert (found.verdicts, found.when, found.wish_digest) == ((VERDICT, failed), WHEN, digest({"edge": 1}))
    assert not found.passed
    assert [each.name for each in path.parent.iterdir()] == ["verdicts.json"]


def test_a_failed_write_leaves_the_older_file_and_nothing_else(tmp_path):
    path = tmp_path / "verdicts.json"
    write_verdicts(path, [VERDICT], "d", WHEN)
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_verdicts(path, [replace(VERDICT, low=float("nan"))], "d", WHEN)
    with pytest.raises(SpecError, match="time zone"):
        write_verdicts(path, [VERDICT], "d", WHEN.replace(tzinfo=None))
    assert read_verdicts(path).verdicts == (VERDICT,)
    assert len(list(tmp_path.iterdir())) == 1


def test_no_verdict_is_no_pass(tmp_path):
    write_verdicts(tmp_path / "v", [], "d", WHEN)
    assert not read_verdicts(tmp_path / "v").passed


def test_equal_wishes_have_one_digest_and_others_another():
    assert digest({"a": 1, "b": [2]}) == digest({"b": [2], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest({})) == 64


@pytest.mark.parametrize(
    "damage",
    [
        lambda plain: plain.update(format=2),
        lambda plain: plain.pop("when"),
        lambda plain: plain.update(when="yesterday"),
        lambda plain: plain.update(verdicts=3),
        lambda plain: plain["verdicts"][0].pop("low"),
        lambda plain: plain["verdicts"][0].update(extra=1),
        lambda plain: plain["verdicts"][0].update(quantity="speed"),
        lambda plain: plain["verdicts"][0].update(quantity=[]),
        lambda plain: plain["verdicts"][0].update(passed=1),
        lambda plain: plain["verdicts"][0].update(samples=True),
        lambda plain: plain["verdicts"][0].update(measured="42"),
        lambda plain: plain["verdicts"][0].update(measured=float("inf")),
    ],
)
def test_a_damaged_file_is_an_error_that_names_it(tmp_path, damage):
    path = tmp_path / "verdicts.json"
    write_verdicts(path, [VERDICT], "d", WHEN)
    plain = json.loads(path.read_text())
    damage(plain)
    path.write_text(json.dumps(plain))
    with pytest.raises(SpecError, match=str(path)) as caught:
        read_verdicts(path)
    assert "run slicebed verify" in str(caught.value)


def test_the_json_has_the_documented_fields():
    assert list(VERDICT.to_plain()) == [
        "link", "quantity", "asked", "expected", "measured", "low", "high", "tolerance", "samples", "wire", "base_ms",
        "passed", "detail",
    ]  # fmt: skip
    assert VERDICT.to_plain()["quantity"] == "rtt_ms"
