"""The model an agent has open, and its slice: kept, replaced without a gap, and let go."""

from __future__ import annotations

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.files import Store
from slicebed_agent.model.held import Cut, Held


@pytest.fixture
def store(tmp_path, cnn14, branching):
    made = Store(tmp_path / "models")
    for model in (cnn14, branching.model):
        made.put(model.path, model.sha256)
    return made


@pytest.fixture
def held(store):
    made = Held(store)
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


def _change(held, cut, batch=1):
    with held.change(cut, batch) as made:
        return made


def _runs(part):
    return part.slice.run([boundary.blank(2) for boundary in part.slice.feeds])


def test_the_same_cut_is_prepared_once(held, first):
    made = _change(held, first)
    assert _change(held, first) is made
    assert _change(held, first, batch=5) is made


def test_the_slice_in_use_serves_until_the_new_one_is_ready(held, first, second):
    old = _change(held, first)
    with held.change(second, 1) as new:
        assert new.model is old.model
        _runs(old)
        _runs(new)
    _runs(new)
    with pytest.raises(AgentError, match="released"):
        _runs(old)


@pytest.mark.parametrize("which", ["second", "other"])
def test_when_a_change_fails_the_slice_in_use_stays(held, first, which, request):
    old = _change(held, first)
    with pytest.raises(RuntimeError), held.change(request.getfixturevalue(which), 1) as new:
        raise RuntimeError
    _runs(old)
    with pytest.raises(AgentError, match="released"):
        _runs(new)
    assert _change(held, first) is old


def test_a_wrong_cut_leaves_everything_as_it_was(held, store, first):
    old = _change(held, first)
    for wrong, says in (
        (Cut(first.model_sha256, ("no:0",), first.fetches), "no tensor 'no:0'"),
        (Cut("0" * 64, first.feeds, first.fetches), "model 000000000000 is not on this host; copy it"),
    ):
        with pytest.raises(AgentConfigError, match=says):
            _change(held, wrong)
    _runs(old)


def test_a_file_in_use_is_not_cleaned_away_and_one_let_go_is(held, store, first, other):
    _change(held, first)
    cleaned = store.clean(0)
    assert (cleaned.removed, cleaned.in_use) == ((other.model_sha256,), (first.model_sha256,))


def test_another_model_takes_the_place_of_the_first(held, store, first, other):
    _change(held, first)
    new = _change(held, other)
    assert _runs(new)[1].dtype == np.int64
    assert store.clean(0).removed == (first.model_sha256,)
    held.close()
    assert store.clean(0).removed == (other.model_sha256,)


def test_what_is_no_graph_is_refused_and_let_go(held, store, tmp_path):
    from slicebed_agent.model.files import hash_file

    path = tmp_path / "text"
    path.write_text("no graph")
    sha256 = hash_file(path)
    store.put(path, sha256)
    with pytest.raises(AgentConfigError, match="no whole GraphDef"):
        _change(held, Cut(sha256, ("a:0",), ("b:0",)))
    assert sha256 in store.clean(0).removed


def test_outputs_are_told_for_one_frame(held, second, other):
    told = _change(held, second).outputs()
    assert [(boundary.name, shape) for boundary, shape in told] == [(second.fetches[0], (4, 4, 128))]
    told = _change(held, other).outputs()
    assert [shape for _, shape in told] == [(30,), (), (16,)]
