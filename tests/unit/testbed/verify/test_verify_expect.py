from __future__ import annotations

import numpy as np
import pytest
from verify_samples import ask, delays

from slicebed.testbed.verify.expect import goodput_share, one_way_delay, overtaking_share, round_trip_delay
from slicebed_agent.host.wish import Distribution, LinkCondition


def test_a_delay_far_from_zero_is_as_asked():
    for distribution in Distribution:
        condition = LinkCondition(delay_us=10_000, jitter_us=1_000, distribution=distribution)
        found = one_way_delay(condition)
        assert (found.mean_us, found.deviation_us) == pytest.approx((10_000, 1_000))
    still = one_way_delay(LinkCondition(delay_us=10_000))
    assert (still.mean_us, still.deviation_us) == (10_000, 0)


def test_packets_that_leave_at_once_lower_the_mean_and_widen_the_delay():
    found = round_trip_delay(ask(LinkCondition(delay_us=5_000, reorder=0.05)))
    assert found.mean_us == pytest.approx(9_500)
    assert found.deviation_us == pytest.approx(np.sqrt(2 * 0.05 * 0.95) * 5_000)
    same = ask(LinkCondition(delay_us=5_000, reorder=0.05, loss=0.1, duplicate=0.2))
    assert round_trip_delay(same) == found


@pytest.mark.parametrize(("jitter_us", "share"), [(1_000, 0.05), (4_000, 0.25), (10_000, 0.1), (0, 1.0), (0, 0.01)])
def test_the_expected_delay_is_what_many_packets_show(jitter_us, share):
    condition = LinkCondition(delay_us=10_000, jitter_us=jitter_us, reorder=share)
    generator = np.random.default_rng(5)
    drawn = delays(condition, 400_000, generator) + delays(LinkCondition(7_000, 500), 400_000, generator)
    found = round_trip_delay(ask(condition, LinkCondition(7_000, 500)))
    assert found.mean_us == pytest.approx(drawn.mean(), rel=0.005)
    assert found.deviation_us == pytest.approx(drawn.std(), rel=0.02)
    assert found.kurtosis == pytest.approx(((drawn - drawn.mean()) ** 4).mean() / drawn.var() ** 2, rel=0.15)


@pytest.mark.parametrize(
    ("mss", "timestamps", "version", "share"),
    [(1448, True, 4, 1448 / 1514), (1460, False, 4, 1460 / 1514), (1428, True, 6, 1428 / 1514)],
)
def test_a_full_frame_is_1514_bytes_whatever_it_carries(mss, timestamps, version, share):
    assert goodput_share(mss, timestamps=timestamps, ip_version=version) == pytest.approx(share)


def test_packets_that_leave_at_once_overtake_what_the_delay_holds():
    asked = LinkCondition(delay_us=50_000, reorder=0.25)
    assert overtaking_share(asked, 1_000) == pytest.approx(0.25, abs=0.005)
    # Nothing is held when the next packet leaves after the delay.
    assert overtaking_share(asked, 60_000) == 0


def test_jitter_alone_reorders_packets_that_follow_closely():
    jittery = LinkCondition(delay_us=50_000, jitter_us=5_000)
    assert overtaking_share(jittery, 1_000) > 0.3
    assert overtaking_share(jittery, 40_000) == 0
