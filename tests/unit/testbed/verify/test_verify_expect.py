from __future__ import annotations

import pytest

from slicebed.testbed.verify.expect import clipped_delay, goodput_share, overtaking_share
from slicebed_agent.host.wish import Distribution, LinkCondition


def test_a_delay_far_from_zero_is_as_asked():
    for distribution in Distribution:
        condition = LinkCondition(delay_us=10_000, jitter_us=1_000, distribution=distribution)
        assert clipped_delay(condition) == pytest.approx((10_000, 1_000))
    assert clipped_delay(LinkCondition(delay_us=10_000)) == (10_000, 0)


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
