"""What a method refuses is known before any host is asked for anything."""

from __future__ import annotations

from dataclasses import replace

import pytest
from searches import LATENCY, REPOSITORY, make_spaces, write_experiment

from slicebed.errors import SpecError
from slicebed.run.progress import Progress
from slicebed.run.search.engine import SearchWanted, run_search
from slicebed.run.search.rehearsal import rehearse
from slicebed.run.search.searching import Settings
from slicebed.spec.experiment import load_experiment
from slicebed.spec.models import Images
from slicebed.spec.objective import Objective
from slicebed.split.search import registry
from slicebed.split.search.contracts import Ask, Choice
from slicebed.testbed.checkout import Checkout

NAMED = REPOSITORY / "inventory" / "testbeds" / "lab.yml"


@pytest.fixture(scope="module")
def spaces(tmp_path_factory):
    search = f"search: {{testbeds: {{near: {NAMED}, far: {NAMED}}}}}"
    return make_spaces(tmp_path_factory.mktemp("rehearsed"), search)[1]


def methods(*names):
    return {name: registry.load(name) for name in names}


def test_every_own_method_gets_as_far_as_it_can(spaces):
    rehearse(spaces, methods(*registry.names()), Settings(LATENCY), print)


def test_whoever_waits_is_told_for_which_method(spaces):
    said = []
    rehearse(spaces, methods("hybrid", "strongman"), Settings(LATENCY), said.append)
    assert said[1] == "net-near: strongman looks at the problem"
    assert len(said) == 4


def test_a_refusal_of_one_condition_names_both(spaces):
    def near_only(problem):
        if problem.rate_per_s > 8:
            raise SpecError("too fast")
        yield Ask((problem.candidates[0].key,))
        return Choice(problem.candidates[0].key, "near")

    near, far = spaces
    source = replace(far.experiment.source, rate_per_s=9)
    far = replace(far, experiment=replace(far.experiment, source=source))
    with pytest.raises(SpecError, match="method near_only, problem net-far: too fast"):
        rehearse((near, far), {"near_only": near_only}, Settings(LATENCY), print)


@pytest.mark.parametrize("name", ["predict", "scission", "hybrid"])
def test_options_that_there_are_not_are_refused(spaces, name):
    with pytest.raises(SpecError, match=f"method {name}, problem net-near: there is no option mots"):
        rehearse(spaces, methods(name), Settings(LATENCY, options={name: {"mots": 8.0}}), print)


@pytest.mark.parametrize("name", ["predict", "scission"])
@pytest.mark.parametrize("objective", [Objective({"energy": 1.0}), Objective({"latency": 1.0}, {}, {"energy": 3.0})])
def test_an_objective_that_is_not_predicted_is_refused(spaces, name, objective):
    with pytest.raises(SpecError, match="energy"):
        rehearse(spaces, methods(name), Settings(objective), print)
    rehearse(spaces, methods("strongman"), Settings(objective), print)


@pytest.mark.parametrize("codec", ["lossless", "auto"])
def test_pictures_in_a_codec_that_compresses_are_not_predicted(tmp_path, codec):
    _, (space,) = make_spaces(tmp_path, f"search: {{codecs: [raw, {codec}]}}")
    source = replace(space.experiment.source, images=Images.SYNTHETIC, height=36, width=64)
    shown = replace(space, experiment=replace(space.experiment, source=source))
    # Tensors cross there; and where the camera's host computes, pictures cross nothing.
    rehearse([space], methods("predict", "scission"), Settings(LATENCY), print)
    near = {key: variant for key, variant in shown.variants.items() if variant.placement.name == "split"}
    rehearse([replace(shown, variants=near)], methods("predict", "scission"), Settings(LATENCY), print)
    for name in ("predict", "scission"):
        with pytest.raises(SpecError, match=f"edge:whole/{codec}, problem net-testbed: what codec {codec} makes of"):
            rehearse([shown], methods(name), Settings(LATENCY), print)
    rehearse([shown], methods("strongman"), Settings(LATENCY), print)


@pytest.mark.parametrize("name", ["predict", "scission"])
def test_early_exits_are_refused_by_what_predicts(spaces, name):
    near = spaces[0]
    pipeline = replace(near.experiment.pipeline, exits=("an exit",))
    early = replace(near, experiment=replace(near.experiment, pipeline=pipeline))
    with pytest.raises(SpecError, match="where frames end early is not predicted"):
        rehearse([early], methods(name), Settings(LATENCY), print)
    rehearse([early], methods("strongman"), Settings(LATENCY), print)


def test_repeats_that_wait_for_an_interval_of_energy_are_refused(spaces):
    objective = Objective({"energy": 1.0})
    with pytest.raises(SpecError, match="until with energy, which has no interval"):
        rehearse(spaces, methods("strongman"), Settings(objective, at_least=3, at_most=6, until=0.05), print)


@pytest.mark.parametrize(
    ("search", "profiles", "said"),
    [
        ("search: {options: {hybrid: {mots: 8}}}", None, "no option mots"),
        ("", "there_is_none", "there_is_none: no such folder"),
    ],
)
def test_a_search_ends_before_it_looks_for_hosts(tmp_path, search, profiles, said):
    experiment = load_experiment(write_experiment(tmp_path, search))
    wanted = SearchWanted(
        experiment, tmp_path / "no_inventory.yml", tmp_path / "results", ("strongman", "hybrid"), LATENCY
    )
    wanted = replace(wanted, profiles=profiles and tmp_path / profiles)
    with pytest.raises(SpecError, match=said):
        run_search(Checkout(tmp_path), wanted, Progress())
    assert not (tmp_path / "results").exists()
