"""Two cuts of a search measured anew: what is asked of the testbed, and what comes of the rounds."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd
import pytest
from benchmarks.network.stats import Estimate
from benchmarks.search import again, found

from slicebed.spec.experiment import load_experiment

ONE = Estimate(1.0, 1.0, 1.0, 12)


def made(chosen="a", best="b", anew=None, regret=ONE):
    return found.Found("mobilenet_v2", "low", chosen, best, 98, 2, regret, 0.01, 96, 30.0, 1200.0, 1.5, anew)


@pytest.fixture
def campaign(tmp_path, monkeypatch):
    """Five rounds of two cuts, at 110 and 100 ms, in which the machine becomes slower; what was asked of the search."""
    asked = []
    rows = [(cut, round_, ms * (1 + round_ / 10)) for round_ in range(1, 6) for cut, ms in (("a", 110), ("b", 100))]
    (tmp_path / "campaign" / "tables").mkdir(parents=True)
    pd.DataFrame(rows, columns=["cut", "repeat", "latency_ms"]).to_csv(tmp_path / "campaign" / "tables" / "cells.csv")

    def searched(*arguments):
        asked.append(arguments)
        return tmp_path / "campaign"

    monkeypatch.setattr(again, "searched", searched)
    return asked


def test_rounds_are_compared_one_by_one(campaign, tmp_path):
    regret = again.regret_anew(made(), tmp_path / "hosts.yml", tmp_path / "again")
    assert [round(value, 3) for value in (regret.median, regret.low, regret.high)] == [1.1] * 3
    assert regret.count == again.ROUNDS
    ((experiment, inventory, results, options),) = campaign
    assert (inventory, results) == (tmp_path / "hosts.yml", tmp_path / "again")
    assert options == ("--method", "strongman", "--condition", "low")
    asked, published = load_experiment(experiment), load_experiment(found.EXPERIMENT)
    assert [cut.points for placement in asked.placements for cut in placement.cuts] == [("a",), ("b",)]
    assert asked.model.argument == "mobilenet_v2"
    assert (asked.search.at_least, asked.search.at_most) == (again.ROUNDS, again.ROUNDS)
    assert (asked.frames, asked.source, asked.tolerance) == (published.frames, published.source, published.tolerance)
    assert asked.testbed == published.testbed
    assert asked.search.testbeds == published.search.testbeds


def test_the_best_cut_itself_is_not_measured_once_more(campaign, tmp_path):
    assert again.regret_anew(made("b", "b"), tmp_path, tmp_path / "again").median == 1.0
    assert campaign == []


def test_both_regrets_are_judged_and_shown():
    lucky = made(regret=Estimate(1.07, 1.04, 1.09, 12), anew=Estimate(1.01, 1.0, 1.02, 5))
    said = {row.what: row.said for row in found.verdicts([lucky, made("b", "b", ONE)])}
    assert said["regret of predict's choice, worst problem"] == "NOT met"
    assert said["the same, both cuts measured anew"] == "met"
    assert "1.010" in found.summary([lucky])


def test_what_is_shown_fits_a_terminal():
    shown = found.summary([replace(made(anew=ONE), model="pnasnet5_large", condition="high", strongman_s=1291.0)])
    assert max(len(line) for line in shown.splitlines()) <= 100
    assert "0.023" in shown
    assert shown.count("pnasnet5_large") == 2
