"""Asked against measured round trips."""

from __future__ import annotations

import pytest

from slicebed.errors import VerdictError
from slicebed.run.probe import Trip, judge, require_passed

WAN = Trip("edge", "cloud", 505_000)


def test_a_link_as_asked_passes_with_its_evidence():
    verdict = judge(WAN, "vde", [504.2, 505.1, 505.6, 900.0, 503.9], sent=5)
    assert verdict.passed
    assert (verdict.asked_rtt_ms, verdict.median_rtt_ms, verdict.samples, verdict.lost) == (505.0, 505.1, 5, 0)
    require_passed([verdict])


@pytest.mark.parametrize("times", [[0.4] * 20, [560.0] * 20])
def test_a_link_that_is_not_as_asked_stops_the_run_and_says_both_figures(times):
    with pytest.raises(VerdictError, match=r"link edge - cloud: asked 505\.0 ms round trip, measured"):
        require_passed([judge(WAN, "vde", times, sent=20)])


def test_a_short_link_has_an_absolute_tolerance():
    assert judge(Trip("client", "edge", 10_000), "vde", [12.8] * 20, sent=20).passed
    assert not judge(Trip("client", "edge", 10_000), "vde", [13.2] * 20, sent=20).passed


def test_a_link_that_loses_packets_does_not_pass():
    assert judge(WAN, "vde", [505.0] * 19, sent=20).passed
    assert not judge(WAN, "vde", [505.0] * 18, sent=20).passed
