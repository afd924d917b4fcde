"""Campaigns of models that are cut at names, seen by a camera without true labels."""

from __future__ import annotations

import json
import math
from io import StringIO

import pandas as pd
import pytest
from campaign_folder import EXPERIMENT, write_run
from rich.console import Console

from slicebed.results.campaign import read_campaign
from slicebed.results.plots import write_plots
from slicebed.results.render import render
from slicebed.results.tables import campaign_table, table_of, to_json, write_tables
from slicebed.spec.cuts import Cut

EARLY, LATE = ("block_2_add", "scope/block_12:1"), ("block_10_add", "a_layer_whose_name_is_long_and_longer/Relu6")
SPEC = EXPERIMENT.to_plain() | {"model": "mobilenet_v2", "cuts": [Cut(EARLY).label, Cut(LATE).label]}


@pytest.fixture
def folder(tmp_path):
    campaign = tmp_path / "trial"
    for cut in (LATE, EARLY):
        write_run(campaign, "1", cut, "c" * 10, spec=SPEC, labels=False)
    return campaign


def _printed(folder) -> str:
    out = StringIO()
    campaign = read_campaign(folder)
    render(Console(file=out, width=120), campaign, table_of(campaign))
    return out.getvalue()


def test_rows_are_in_the_experiments_order_and_have_whole_names(folder):
    table = campaign_table(folder)
    assert list(table["cut"]) == [Cut(EARLY).label, Cut(LATE).label]
    assert list(table["split"]) == [" - ".join(EARLY), " - ".join(LATE)]


def test_true_labels_that_are_not_known_are_not_wrong_ones(folder):
    row = campaign_table(folder).iloc[0]
    assert math.isnan(row["accuracy"])
    assert row["labels_equal_share"] == 1.0
    campaign = read_campaign(folder)
    assert to_json(campaign, table_of(campaign))["rows"][0]["accuracy"] is None
    assert "Labels as the whole model's: 320 of 320 images, outputs within 2e-07; accuracy -." in _printed(folder)
    (run, *_) = folder.glob("c1_*")
    assert pd.read_parquet(run / "samples.parquet")["labels_correct"].isna().all()
    assert json.loads((run / "manifest.json").read_text())["cut"] in [list(EARLY), list(LATE)]


def test_accuracy_is_that_of_the_images_whose_label_is_known(tmp_path):
    write_run(tmp_path / "both", "1", (1, 8), "c" * 10)
    write_run(tmp_path / "both", "1", (1, 8), "c" * 30, repeat=2, labels=False)
    assert campaign_table(tmp_path / "both").iloc[0]["accuracy"] == pytest.approx(15 / 16)
    assert "accuracy 0.938." in _printed(tmp_path / "both")


def test_nothing_of_the_papers_stands_beside_another_model(folder):
    assert campaign_table(folder)["published_time_s"].isna().all()
    assert "paper" not in _printed(folder)
    assert [path.name for path in write_tables(folder)] == ["table_1.csv"]
    written = write_plots(folder)
    assert [path.name for path in written[::2]] == ["figure_1.svg", "latency.svg"]
    for path in written[::2]:
        assert "block_2_add" in path.read_text()
        assert "paper" not in path.read_text()


def test_the_papers_model_with_other_weights_is_another_model(tmp_path):
    for settings, name in (({}, "table3.csv"), ({"seed": 1}, "table_1.csv")):
        campaign = tmp_path / name
        write_run(campaign, "1", (1, 8), "c" * 10, spec=EXPERIMENT.to_plain() | {"model_settings": settings})
        assert [path.name for path in write_tables(campaign)] == [name]


def test_terminal_tables_of_long_names_fit(folder):
    text = _printed(folder)
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "cut after" in text
    assert "block_2_add - scope/block_12:1" in text
    assert "…" not in text
