"""Lab tests are run again when a run refuses a busy machine; they know that by its words."""

from __future__ import annotations

import re

import pytest
from measured import refused_on_a_busy_machine

from slicebed.errors import VerdictError
from slicebed.run.probe import Trip, judge, require_passed


def test_the_words_of_a_refused_condition_are_those_that_tests_look_for():
    with pytest.raises(VerdictError) as refused:
        require_passed([judge(Trip("client", "edge", 10_000), "tap", [13.9] * 20, sent=20)])
    (looked_for,) = refused_on_a_busy_machine.kwargs["only_rerun"]
    assert re.search(looked_for, str(refused.value))
