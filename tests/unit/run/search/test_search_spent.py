"""What a session used the testbed for beside its cells and profiles."""

from __future__ import annotations

import pytest
from searches import make_spaces

from slicebed.run.search.listing import Listing
from slicebed.run.search.space import Cell
from slicebed.run.search.spent import beside_s


def at(second, event, **facts):
    return {"at": f"2026-01-01T00:00:{second:06.3f}+00:00", "event": event, **facts}


def conditions(quota, seconds, condition="testbed"):
    return at(1, "conditions_set", condition=condition, knobs={"edge.quota": quota}, site="lab", testbed_s=seconds)


@pytest.fixture
def space(tmp_path):
    return make_spaces(tmp_path, "search: {knobs: {edge.quota: [0.5, 1]}}")[1][0]


def cell(point, quota, repeat=1):
    return Cell("net-testbed", f"split:{point}/edge.quota={quota}", repeat)


JOURNAL = [
    at(0, "campaign_created"),
    at(1, "model_brought", model="another", site="lab", testbed_s=100.0),
    at(1, "model_brought", model="net", site="lab", testbed_s=2.0),
    at(1, "model_brought", model="net", site="lab", testbed_s=50.0),
    conditions(1, 3.0, condition="elsewhere"),
    conditions(1, 5.0),
    at(10, "cell_started", cell=cell("op1", 1).id, site="lab"),
    at(11.5, "cell_failed", cell=cell("op1", 1).id, site="lab"),
    at(12, "cell_started", cell=cell("op2", 1).id, site="lab"),
    at(16, "cell_invalid", cell=cell("op2", 1).id, site="lab"),
    conditions(0.5, 7.0),
    conditions(1, 60.0),
    # Cut short: the control process was killed.
    at(20, "cell_started", cell=cell("op1", 1).id, site="lab"),
    at(40, "cell_started", cell=cell("op1", 1).id, site="lab"),
    at(42, "cell_done", cell=cell("op1", 1).id, site="lab"),
]


@pytest.mark.parametrize(
    ("cells", "foretold", "seconds"),
    [
        ([cell("op1", 1)], False, 2.0 + 5.0 + 1.5),
        ([cell("op1", 1), cell("op1", 1, 2), cell("op2", 1)], False, 2.0 + 5.0 + 1.5 + 4.0),
        ([cell("op3", 0.5)], False, 2.0 + 7.0),
        ([cell("op3", 0.5)], True, 2.0 + 5.0 + 7.0),
    ],
)
def test_what_a_session_needs_counts_once_and_what_others_need_does_not(space, cells, foretold, seconds):
    assert beside_s(JOURNAL, Listing.of(space), cells, foretold=foretold) == pytest.approx(seconds)


def test_a_search_before_this_was_noted_counts_its_failed_attempts(space):
    assert beside_s(JOURNAL[6:8], Listing.of(space), [cell("op1", 1)], foretold=False) == pytest.approx(1.5)
