from __future__ import annotations

from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pytest

from slicebed.errors import SpecError
from slicebed.spec.experiment import Order, load_experiment
from slicebed.spec.order import plan_runs

EXPERIMENT = load_experiment(Path(__file__).parents[3] / "experiments" / "dnn_slicing.yml")
REPEATED = replace(EXPERIMENT, repeats=3)


def test_every_cut_comes_once_per_configuration_and_repeat():
    runs = plan_runs(REPEATED)
    asked = {(c.name, cut.label, r) for c in REPEATED.configurations for cut in REPEATED.cuts for r in (1, 2, 3)}
    assert len(runs) == len(asked) == 72
    assert {(run.configuration.name, run.cut.label, run.repeat) for run in runs} == asked
    assert len({run.run_id for run in runs}) == 72
    assert all(run.run_id == f"c{run.configuration.name}_{run.cut.label}_r{run.repeat}" for run in runs)


def test_conditions_change_between_configurations_only():
    blocks = [name for name, _ in groupby(run.configuration.name for run in plan_runs(REPEATED))]
    assert sorted(blocks) == ["1", "2", "3"]


def test_order_is_repeatable_and_the_seed_changes_it():
    ids = [run.run_id for run in plan_runs(REPEATED)]
    assert ids == [run.run_id for run in plan_runs(REPEATED)]
    other = replace(REPEATED, order=Order(randomised=True, seed=1))
    assert ids != [run.run_id for run in plan_runs(other)]


def test_repeats_are_shuffled_apart():
    runs = [run for run in plan_runs(REPEATED) if run.configuration.name == "1"]
    orders = {tuple(run.cut.label for run in group) for _, group in groupby(runs, key=lambda run: run.repeat)}
    assert len(orders) == 3


def test_without_shuffle_the_file_decides():
    plain = replace(EXPERIMENT, order=Order(randomised=False, seed=5))
    assert [run.run_id for run in plan_runs(plain)][:9] == [
        *(f"c1_{cut.label}_r1" for cut in EXPERIMENT.cuts),
        "c2_1-8_r1",
    ]


def test_a_part_keeps_the_order_of_the_whole():
    whole = [run.run_id for run in plan_runs(EXPERIMENT)]
    part = plan_runs(EXPERIMENT, ["2", "1"], ["3-8", "1-11"], frames=5)
    ids = [run.run_id for run in part]
    assert sorted(ids) == ["c1_1-11_r1", "c1_3-8_r1", "c2_1-11_r1", "c2_3-8_r1"]
    assert ids == [run_id for run_id in whole if run_id in ids]
    assert {run.frames for run in part} == {5}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"configuration_names": ["4"]}, 'unknown configuration "4"; allowed: 1, 2, 3'),
        ({"configuration_names": []}, "no configuration chosen; allowed: 1, 2, 3"),
        ({"cut_labels": ["1-12"]}, 'unknown cut "1-12"; allowed: 1-8, 1-9, '),
        ({"frames": 0}, "0 frames are out of range; allowed: 1 to 1000000"),
    ],
)
def test_what_the_experiment_lacks_is_refused(asked, says):
    with pytest.raises(SpecError) as caught:
        plan_runs(EXPERIMENT, **asked)
    assert says in str(caught.value)
    assert caught.value.exit_code == 2
