"""The referee's tables of a search: cuts in the model's order, choices with their regret, ratios, and the front."""

from __future__ import annotations

import csv
import json
import math
import shutil

import pandas as pd
import pytest
from search_folder import PICTURE_BYTES, SearchWritten

from slicebed.errors import RunError, SpecError
from slicebed.results.referee.cuts import measured, parts_in
from slicebed.results.referee.folder import is_search, read_search
from slicebed.results.referee.front import metrics_of
from slicebed.results.referee.methods import minutes_by_method, runs_by_method
from slicebed.results.referee.tables import referee_of, to_json, write_tables
from slicebed.run.store import Campaign
from slicebed.stats import wilson_interval

NAMES = ["cloud", "conv_1", "pool_3", "mixed_5", "mixed_7", "logits"]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two conditions; one cell was invalid and done since, one failed for good."""
    folder = tmp_path_factory.mktemp("search") / "couper"
    attempts = {2: ("invalid", True), 4: ("failed", False)}
    return SearchWritten(folder, conditions=("low", "high"), attempts=attempts).write()


@pytest.fixture(scope="module")
def judged(written):
    return referee_of(written)


def _edit(folder, table: str, change) -> None:
    path = folder / "tables" / f"{table}.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    columns = list(rows[0])
    changed = change(rows)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(changed)


def test_cuts_stand_in_the_models_order_with_a_number(judged):
    for _, rows in judged.cuts.groupby("problem"):
        assert rows["name"].tolist() == NAMES
        assert rows["number"].tolist() == [1, 2, 3, 4, 5, 6]
        assert rows["cloud_only"].tolist() == [True] + [False] * 5


def test_the_order_is_the_models_whatever_that_of_the_table(tmp_path):
    folder = SearchWritten(tmp_path / "turned").write()
    _edit(folder, "candidates", lambda rows: rows[:1] + rows[:0:-1])
    assert referee_of(folder).cuts["name"].tolist() == NAMES


def test_parts_sum_to_the_mean_latency(judged):
    there = measured(judged.cuts)
    sums = there[parts_in(judged.cuts)].sum(axis=1)
    assert sums.tolist() == pytest.approx(there["latency_mean_ms"].tolist())
    assert parts_in(judged.cuts)[-1] == "way_back_and_rest_ms"


def test_figures_have_their_evidence(judged):
    row = judged.cuts[judged.cuts["name"] == "conv_1"].iloc[0]
    assert row["latency_n"] == row["completed"] == row["captured"] - row["dropped"] > 6
    assert row["dropped"] > 0
    assert (row["drop_rate_low"], row["drop_rate_high"]) == wilson_interval(row["dropped"], row["captured"])
    assert row["latency_median_low_ms"] <= row["latency_median_ms"] <= row["latency_median_high_ms"]
    assert row["bytes_low"] <= row["bytes_per_frame"] <= row["bytes_high"]
    assert row["throughput_per_s"] == pytest.approx(row["completed"] / 2.4)


def test_bytes_are_of_all_links_and_of_a_completed_frame(judged):
    row = judged.cuts[(judged.cuts["name"] == "logits") & (judged.cuts["condition"] == "high")].iloc[0]
    assert row["dropped"] == 0
    assert row["bytes_per_frame"] > PICTURE_BYTES
    cloud = judged.cuts[judged.cuts["name"] == "cloud"].iloc[0]
    assert cloud["bytes_per_frame"] == pytest.approx(PICTURE_BYTES * cloud["captured"] / cloud["completed"])


def test_a_cell_that_failed_is_counted_and_named(judged):
    low = judged.cuts[judged.cuts["condition"] == "low"].set_index("name")
    assert low["not_done"].tolist() == [0, 0, 0, 0, 1, 0]
    assert low.loc["mixed_7", "runs"] == 0
    assert math.isnan(low.loc["mixed_7", "latency_median_ms"])
    assert low.loc["pool_3", "runs"] == 1
    assert [(each.status, each.repeated) for each in judged.attempts] == [("invalid", True), ("failed", False)]
    (note,) = [note for note in judged.notes if "not done" in note]
    assert "1 cell(s)" in note
    assert "InceptionV3-low/sliced/mixed_7/raw/r1 (failed)" in note


def test_several_cells_count_together(tmp_path):
    folder = SearchWritten(tmp_path / "twice", repeats=2, cuts=("a", "b")).write()
    cuts = referee_of(folder).cuts
    assert cuts["runs"].tolist() == [2, 2, 2]
    assert cuts["captured"].tolist() == [48, 48, 48]
    assert cuts["testbed_s"].tolist() == [24.0] * 3


def test_cells_of_fewer_frames_stand_aside_and_are_told(tmp_path):
    folder = SearchWritten(tmp_path / "short", repeats=2, cuts=("a", "b")).write()
    path = folder / "cell0001" / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"cell_frames": 8}))
    judged = referee_of(folder)
    assert judged.cuts["runs"].tolist() == [1, 2, 2]
    assert "1 cell(s) of fewer frames stand aside, where their candidate has others of more." in judged.notes


def test_methods_have_runs_time_value_and_regret(judged):
    strongman, hybrid = judged.methods[judged.methods["condition"] == "high"].to_dict("records")
    assert (strongman["runs"], strongman["candidates_measured"], strongman["candidates"]) == (6, 6, 6)
    assert strongman["time_to_decision_s"] == pytest.approx(6 * 12.0 + 0.25)
    assert strongman["all_measured"]
    assert (strongman["regret"], strongman["regret_low"]) == (0.0, 0.0)
    cuts = judged.cuts[judged.cuts["condition"] == "high"].set_index("name")
    rival = cuts["latency_median_low_ms"].drop(strongman["name"]).min()
    high = cuts.loc[strongman["name"], "latency_median_high_ms"]
    assert strongman["regret_high"] == pytest.approx(max(0.0, (high - rival) / rival))
    chosen, best = (cuts.loc[row["name"], "latency_median_ms"] for row in (hybrid, strongman))
    assert hybrid["name"] in NAMES[2:4]
    assert hybrid["value"] == pytest.approx(chosen / 1000)
    assert hybrid["regret"] == pytest.approx((chosen - best) / best)
    assert 0 <= hybrid["regret_low"] < hybrid["regret"] < hybrid["regret_high"]
    assert hybrid["n"] == 24


def test_the_best_measured_may_still_not_be_the_best(tmp_path):
    folder = SearchWritten(tmp_path / "alike", cuts=tuple("abcdefghijkl"), frames=8, conditions=("mid",)).write()
    judged = referee_of(folder)
    cuts, row = judged.cuts.set_index("key"), judged.methods.iloc[0]
    rival = cuts["latency_median_low_ms"].drop(row["chosen"]).min()
    high = cuts.loc[row["chosen"], "latency_median_high_ms"]
    assert high > rival
    assert (row["regret"], row["regret_low"]) == (0.0, 0.0)
    assert row["regret_high"] == pytest.approx((high - rival) / rival)


def test_the_only_measured_candidate_has_no_regret(tmp_path):
    row = referee_of(SearchWritten(tmp_path / "one", cuts=(), sessions={"strongman": None}).write()).methods.iloc[0]
    assert (row["regret"], row["regret_low"], row["regret_high"]) == (0.0, 0.0, 0.0)


def test_a_best_among_some_is_called_so(judged):
    low = judged.methods[judged.methods["condition"] == "low"]
    assert not low["all_measured"].any()


def test_the_shapes_of_coupers_tables(judged):
    runs, minutes = runs_by_method(judged.methods), minutes_by_method(judged.methods)
    assert list(runs.columns[-3:]) == ["candidates", "strongman", "hybrid"]
    assert runs["strongman"].tolist() == [6, 6]
    assert runs["hybrid"].tolist() == [2, 2]
    assert minutes["hybrid"].tolist() == pytest.approx([(24.0 + 0.25) / 60] * 2)


def test_a_weighted_objective_under_a_limit(tmp_path):
    folder = SearchWritten(tmp_path / "weighed", conditions=("low",)).write()
    text = "latency=1/100 ms,drop_rate=2/10 %;drop_rate<=50 %"
    _edit(folder, "decisions", lambda rows: [row | {"objective": text} for row in rows])
    judged = referee_of(folder)
    row = judged.methods.iloc[0]
    cut = judged.cuts[judged.cuts["key"] == row["chosen"]].iloc[0]
    assert row["value"] == pytest.approx(cut["latency_median_ms"] / 100 + 2 * cut["drop_rate"] / 0.1)
    assert row["value_low"] < row["value"] < row["value_high"]
    assert row["within_limits"]
    assert row["unit"] == ""


def test_more_throughput_is_better(tmp_path):
    folder = SearchWritten(tmp_path / "fast", conditions=("low",)).write()
    _edit(folder, "decisions", lambda rows: [row | {"objective": "throughput"} for row in rows])
    judged = referee_of(folder)
    best = judged.cuts["throughput_per_s"].max()
    assert judged.methods["best_known"].tolist() == pytest.approx([best, best])
    assert (judged.methods["regret"] >= 0).all()


def test_an_objective_that_cannot_be_read_is_told(tmp_path):
    folder = SearchWritten(tmp_path / "odd").write()
    _edit(folder, "decisions", lambda rows: [row | {"objective": "beauty"} for row in rows])
    with pytest.raises(RunError, match="objective"):
        referee_of(folder)


def test_ratios_are_those_to_the_cloud_alone(judged):
    rows = judged.normalised[judged.normalised["condition"] == "high"].set_index("name")
    cuts = judged.cuts[judged.cuts["condition"] == "high"].set_index("name")
    wanted = cuts.loc["logits", "latency_median_ms"] / cuts.loc["cloud", "latency_median_ms"]
    assert rows.loc["logits", "latency_ratio"] == pytest.approx(wanted)
    assert rows.loc["logits", "latency_ratio_low"] < wanted < rows.loc["logits", "latency_ratio_high"]
    assert rows.loc["cloud", ["latency_ratio", "drop_ratio"]].tolist() == [1.0, 1.0]
    assert rows.loc["conv_1", "drop_ratio"] == pytest.approx(
        cuts.loc["conv_1", "drop_rate"] / cuts.loc["cloud", "drop_rate"]
    )
    assert "strongman (latency)" in set(rows["chosen_by"])


def test_ratios_are_to_the_cloud_under_the_same_codec(tmp_path):
    judged = referee_of(SearchWritten(tmp_path / "codecs", codecs=("raw", "lossless"), cuts=("a", "b")).write())
    assert judged.normalised["cloud_name"].tolist() == ["cloud raw", "cloud lossless"] * 3


def test_without_the_cloud_alone_it_is_said_that_it_is_missing(tmp_path):
    judged = referee_of(SearchWritten(tmp_path / "edge", cloud=False).write())
    assert judged.normalised["latency_ratio"].isna().all()
    assert set(judged.normalised["missing"]) == {"no whole model in the cloud among the finished cells"}
    assert any("InceptionV3-mid: nothing to normalise by" in note for note in judged.notes)


def test_a_cloud_that_drops_nothing_gives_no_ratio_of_drops(tmp_path):
    judged = referee_of(SearchWritten(tmp_path / "slow", rate_per_s=2.0).write())
    assert judged.normalised["drop_ratio"].isna().all()
    assert judged.normalised["latency_ratio"].notna().all()
    assert set(judged.normalised["missing"]) == {"nothing was dropped in the cloud"}


def test_predictions_are_judged_by_all_that_was_measured(tmp_path):
    folder = SearchWritten(tmp_path / "foretold").write()
    changes = dict(enumerate(("0.8", "1.5", "", "1.02", "1.1", "1.3")))

    def guess(rows):
        for at, row in enumerate(rows):
            median = float(row["predicted_latency_ms"]) / 1.05
            ends = [median * float(changes[at]) * part for part in (1.0, 0.95, 1.05)] if changes[at] else [""] * 3
            names = ("predicted_latency_ms", "predicted_low_ms", "predicted_high_ms")
            yield row | dict(zip(names, ends, strict=True))

    _edit(folder, "candidates", lambda rows: list(guess(rows)))
    (row,) = referee_of(folder).predicted.to_dict("records")
    assert (row["candidates"], row["n"], row["inside"]) == (6, 5, 1)
    assert row["median_error"] == pytest.approx(0.2, abs=1e-3)
    assert row["coverage"] == pytest.approx(0.2)


def test_nothing_beats_the_front(judged):
    for _, rows in judged.front.groupby("problem"):
        best = rows[rows["on_front"]]
        assert len(best) >= 1
        for _, row in rows.iterrows():
            better = (best["latency"] <= row["latency"]) & (best["drop_rate"] <= row["drop_rate"])
            assert better.any()


def test_a_front_of_other_metrics(written):
    judged = referee_of(written, ("throughput", "bytes"))
    best = judged.front[judged.front["on_front"]]
    assert judged.front["throughput"].max() in set(best["throughput"])
    assert judged.front["bytes"].min() in set(best["bytes"])


@pytest.mark.parametrize("text", ["latency", "latency,latency", "latency,beauty", "latency,drop_rate,bytes", ""])
def test_what_is_no_pair_of_metrics_is_refused(text):
    with pytest.raises(SpecError, match="--pareto"):
        metrics_of(text)


def test_a_front_of_what_was_not_measured_is_refused(written):
    with pytest.raises(SpecError, match="no metric 'foo'"):
        referee_of(str(written), ("bytes", "foo"))
    with pytest.raises(SpecError, match="latency and energy were not measured together"):
        referee_of(written, ("latency", "energy"))


def test_files_hold_the_tables(judged, written):
    paths = write_tables(judged, written)
    assert [path.name for path in paths] == [
        "referee_cuts.csv", "referee_methods.csv", "normalised.csv", "predicted.csv", "pareto_latency_drop_rate.csv"
    ]  # fmt: skip
    again = pd.read_csv(paths[0])
    assert again["latency_median_ms"].notna().sum() == len(measured(judged.cuts))
    told = json.loads(json.dumps(to_json(judged), allow_nan=False))
    assert told["kind"] == "search"
    assert told["cuts"][4]["latency_median_ms"] is None
    assert told["methods"][0]["regret"] == 0.0
    assert told["not_done"][1]["status"] == "failed"


def test_cells_without_a_run_and_runs_without_a_cell_are_named(tmp_path):
    folder = SearchWritten(tmp_path / "torn").write()
    shutil.rmtree(folder / "cell0001")
    _edit(folder, "cells", lambda rows: [row for row in rows if row["run"] != "cell0002"])
    judged = referee_of(folder)
    assert judged.cuts["runs"].tolist() == [1, 0, 0, 1, 1, 1]
    assert any("InceptionV3-mid/sliced/conv_1/raw/r1" in note for note in judged.notes)
    assert any("cell0002" in note for note in judged.notes)


def test_a_search_that_goes_on_has_cuts_and_no_choices(tmp_path):
    folder = SearchWritten(tmp_path / "young").write()
    (folder / "tables" / "decisions.csv").unlink()
    (folder / "tables" / "candidates.csv").unlink()
    (folder / "cell0099.partial").mkdir()
    judged = referee_of(folder)
    assert judged.cuts["runs"].tolist() == [1] * 6
    assert judged.methods.empty
    assert any("No session has ended" in note for note in judged.notes)
    assert any("cell0099 (cut off)" in note for note in judged.notes)


def test_what_cannot_be_judged_is_told(tmp_path, written):
    with pytest.raises(SpecError, match="no such campaign"):
        read_search(tmp_path / "nowhere")
    (tmp_path / "plain").mkdir()
    assert not is_search(tmp_path / "plain")
    with pytest.raises(SpecError, match="not the folder of a search"):
        read_search(tmp_path / "plain")
    (tmp_path / "plain" / "campaign.json").write_text(json.dumps({"kind": "search"}))
    with pytest.raises(SpecError, match="no cell is measured yet"):
        read_search(tmp_path / "plain")
    torn = shutil.copytree(written, tmp_path / "copy")
    (torn / "tables" / "cells.csv").write_text("cell,problem\n")
    with pytest.raises(RunError, match="lacks model, condition"):
        read_search(torn)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_searchs_broken_plan_is_told(tmp_path, text):
    folder = SearchWritten(tmp_path / "broken", cuts=("a", "b")).write()
    (folder / "campaign.json").write_text(text)
    with pytest.raises(RunError, match=r"campaign\.json"):
        is_search(folder)


def test_what_is_read_is_what_the_search_writes():
    from slicebed.results.referee import folder as reader
    from slicebed.run.search import record as writer

    for name in ("CELLS", "CANDIDATES", "DECISIONS"):
        assert set(getattr(reader, name)) <= set(getattr(writer, name))


def test_a_failure_without_a_folder_of_its_own_is_told_too(tmp_path):
    folder = SearchWritten(tmp_path / "lost", cuts=("a", "b")).write()
    facts = {"cell": "InceptionV3-mid/sliced/b/raw/r2", "run": "x", "site": "s", "error": "no host", "given_up": True}
    Campaign(folder).note("cell_failed", **facts)
    judged = referee_of(folder)
    assert judged.cuts["not_done"].tolist() == [0, 0, 1]
    assert judged.attempts[-1].error == "no host"
