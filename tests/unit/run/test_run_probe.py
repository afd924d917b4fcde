"""Asked against measured round trips."""

from __future__ import annotations

import pytest

from slicebed.errors import VerdictError
from slicebed.run.probe import Trip, judge, require_passed, until_passed

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


def verdict(*times):
    return judge(WAN, "tap", times, sent=len(times))


def test_a_burst_of_other_load_is_measured_again_and_kept():
    later = iter([verdict(540.0), verdict(505.2)])
    found = until_passed(verdict(560.0), lambda: next(later), pause_s=0)
    assert (found.passed, found.median_rtt_ms, found.failed_before) == (True, 505.2, (560.0, 540.0))


def test_a_link_that_passes_is_not_measured_again():
    assert until_passed(verdict(505.0), lambda: pytest.fail("measured again"), pause_s=0).failed_before == ()


def test_what_is_truly_wrong_fails_with_every_figure():
    later = iter([verdict(561.0), verdict(562.0)])
    found = until_passed(verdict(560.0), lambda: next(later), pause_s=0)
    with pytest.raises(VerdictError, match=r"measured 562\.0 ms \(median of 1, 0 lost; just before 560\.0, 561\.0\)"):
        require_passed([found])
