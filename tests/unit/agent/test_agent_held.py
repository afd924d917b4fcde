"""The models an agent has open, and its slices: shared, in several versions at once, and let go."""

from __future__ import annotations

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.files import Store
from slicebed_agent.model.held import Cut, Held, Versions


@pytest.fixture
def store(tmp_path, cnn14, branching):
    made = Store(tmp_path / "models")
    for model in (cnn14, branching.model):
        made.put(model.path, model.sha256)
    return made


@pytest.fixture
def held(store):
    return Held(store)


@pytest.fixture
def versions(held):
    made = Versions(held)
    yield made
    made.close()


@pytest.fixture
def first(cnn14):
    return Cut(cnn14.sha256, cnn14.ends[:1], cnn14.ends[3:4])


@pytest.fixture
def second(cnn14):
    return Cut(cnn14.sha256, cnn14.ends[3:4], cnn14.ends[8:9])


@pytest.fixture
def other(branching):
    return Cut(branching.model.sha256, *branching.boundaries[1:3])


def _blank(part, batch=2):
    return tuple(boundary.blank(batch) for boundary in part.slice.feeds)


def _runs(part):
    return part.slice.run(_blank(part))


def test_the_same_cut_is_prepared_once_and_goes_with_its_last_user(held, first):
    made = held.take(first, 1)
    assert held.take(first, 5) is made
    held.give_back(made)
    _runs(made)
    held.give_back(made)
    with pytest.raises(AgentError, match="released"):
        _runs(made)


def test_slices_of_one_model_share_it(held, first, second):
    one, two = held.take(first, 1), held.take(second, 1)
    assert one.model is two.model
    held.give_back(one)
    _runs(two)
    held.give_back(two)


def test_a_model_is_open_while_somebody_asks_it(held, store, first, other):
    with held.executor(first.model_sha256) as executor:
        executor.describe(first.feeds)
        assert store.clean(0).in_use == (first.model_sha256,)
    assert first.model_sha256 in store.clean(0).removed


def test_each_frame_goes_through_the_slice_of_its_version(versions, first, second, other):
    made = versions.add(0, {"slice": first, "slice2": second}, 1)
    frame = _blank(made["slice"])
    (old,) = versions.run("slice", 0, frame)
    whole = Cut(first.model_sha256, first.feeds, second.fetches)
    versions.add(1, {"slice": whole}, 1)
    assert versions.run("slice", 0, frame)[0].shape == old.shape
    (new,) = versions.run("slice", 1, frame)
    assert new.shape == (2, 4, 4, 128)
    # Nothing changed for the other stage: its only slice serves both versions.
    assert np.array_equal(versions.run("slice2", 1, (old,))[0], new)
    versions.release_before(1)
    assert versions.run("slice2", 1, (old,))[0].shape == new.shape
    with pytest.raises(AgentError, match="slice: version 0 of the cut is not on this host"):
        versions.run("slice", 0, frame)


def test_an_abandoned_version_leaves_those_in_use(versions, first, second):
    made = versions.add(3, {"slice": first}, 1)
    gone = versions.add(4, {"slice": second}, 1)
    versions.release(4)
    versions.run("slice", 3, _blank(made["slice"]))
    with pytest.raises(AgentError, match="released"):
        _runs(gone["slice"])


def test_a_cut_that_cannot_be_is_named_and_leaves_everything_as_it_was(versions, store, first, second, other):
    made = versions.add(0, {"slice": first}, 1)
    for wrong, says in (
        (Cut(first.model_sha256, ("no:0",), first.fetches), "slice2: .*no tensor 'no:0'"),
        (Cut("0" * 64, first.feeds, first.fetches), "slice2: model 000000000000 is not on this host; copy it"),
    ):
        with pytest.raises(AgentConfigError, match=says):
            versions.add(1, {"slice": other, "slice2": wrong}, 1)
        assert versions.run("slice", 1, _blank(made["slice"]))
        cleaned = store.clean(1 << 40)
        assert cleaned.removed == ()
    assert store.clean(0).in_use == (first.model_sha256,)


def test_a_file_in_use_is_not_cleaned_away_and_one_let_go_is(versions, store, first, other):
    versions.add(0, {"slice": first}, 1)
    made = versions.add(1, {"slice": other}, 1)
    assert _runs(made["slice"])[1].dtype == np.int64
    assert store.clean(0).removed == ()
    versions.release_before(1)
    assert store.clean(0).removed == (first.model_sha256,)
    versions.close()
    assert store.clean(0).removed == (other.model_sha256,)


def test_what_is_no_graph_is_refused_and_let_go(held, store, tmp_path):
    from slicebed_agent.model.files import hash_file

    path = tmp_path / "text"
    path.write_text("no graph")
    sha256 = hash_file(path)
    store.put(path, sha256)
    with pytest.raises(AgentConfigError, match="no whole GraphDef"):
        held.take(Cut(sha256, ("a:0",), ("b:0",)), 1)
    assert sha256 in store.clean(0).removed


def test_outputs_are_told_for_one_frame(versions, second, other):
    made = versions.add(0, {"one": second, "two": other}, 1)
    told = made["one"].outputs()
    assert [(boundary.name, shape) for boundary, shape in told] == [(second.fetches[0], (4, 4, 128))]
    assert [shape for _, shape in made["two"].outputs()] == [(30,), (), (16,)]
