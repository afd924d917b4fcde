from __future__ import annotations

from dataclasses import replace

import pytest
from verify_samples import ask

from slicebed.testbed.verify.expect import Delay
from slicebed.testbed.verify.plan import (
    plan_base,
    plan_verification,
    round_trip_samples,
    rtt_tolerance_us,
    train_interval_us,
    train_packets,
)
from slicebed_agent.host.wish import LinkCondition

RATED = LinkCondition(delay_us=10_000, rate_bit_per_s=50_000_000)


def names(rounds):
    return [[item.link.name for item in each] for each in rounds]


def triangle(condition=RATED, **changed):
    return [
        ask(condition, a=a, b=b, **changed) for a, b in (("client", "edge"), ("edge", "cloud"), ("client", "cloud"))
    ]


@pytest.mark.parametrize(("asked_us", "tolerance_us"), [(0, 300), (1_000, 300), (15_000, 300), (49_200, 984)])
def test_the_tolerance_is_two_percent_but_never_less_than_three_tenths_of_a_millisecond(asked_us, tolerance_us):
    assert rtt_tolerance_us(asked_us) == tolerance_us


@pytest.mark.parametrize(
    ("rtt_us", "jitter_us", "samples"),
    [(49_200, 0, 200), (49_200, 13_390, 1667), (42_460, 11_580, 1674), (7_680, 2_490, 800), (10_000, 10_000, 2500)],
)
def test_samples_make_the_tolerance_three_standard_errors(rtt_us, jitter_us, samples):
    assert round_trip_samples(rtt_us, Delay(rtt_us, jitter_us), jitter=jitter_us > 0) == samples


@pytest.mark.parametrize(
    ("condition", "samples"),
    [
        (LinkCondition(delay_us=5_000), 200),
        (LinkCondition(delay_us=5_000, reorder=0.05), 238),
        (LinkCondition(delay_us=50_000, reorder=0.25), 2_110),
        (LinkCondition(delay_us=5_000, jitter_us=200, reorder=0.5), 1_254),
    ],
)
def test_what_reordering_varies_needs_samples_too(condition, samples):
    assert plan_verification([ask(condition)]).probes[0][0].round_trips.count == samples


def test_a_link_to_the_moon_is_not_probed_for_hours():
    assert round_trip_samples(100_000_000, Delay(100_000_000, 10_000_000), jitter=True) == 30


def test_links_with_interfaces_of_their_own_are_probed_at_one_time_but_filled_one_after_the_other():
    plan = plan_verification(triangle())
    assert names(plan.probes) == [["client -> edge", "edge -> cloud", "client -> cloud"]]
    assert [stream.name for each in plan.streams for stream in each] == [
        "client -> edge", "edge -> client", "edge -> cloud", "cloud -> edge", "client -> cloud", "cloud -> client",
    ]  # fmt: skip
    assert all(len(each) == 1 for each in plan.streams)


def test_links_that_share_an_interface_or_may_do_so_are_never_measured_at_one_time():
    assert names(plan_verification(triangle(interface_a="eth0", interface_b="eth0")).probes) == [
        ["client -> edge"], ["edge -> cloud"], ["client -> cloud"],
    ]  # fmt: skip
    one_unknown = [ask(a="a", b="b", interface_a=None), ask(a="a", b="c"), ask(a="c", b="d")]
    assert names(plan_verification(one_unknown).probes) == [["a -> b", "c -> d"], ["a -> c"]]


def test_hosts_apart_are_filled_at_one_time():
    plan = plan_verification([ask(RATED, a="a", b="b"), ask(RATED, a="c", b="d")])
    assert [[stream.name for stream in each] for each in plan.streams] == [["a -> b", "c -> d"], ["b -> a", "d -> c"]]


def test_only_directions_with_a_rate_are_filled_and_none_of_a_severed_link():
    one_way = ask(RATED, LinkCondition(delay_us=10_000))
    assert [stream.name for each in plan_verification([one_way]).streams for stream in each] == ["edge -> cloud"]
    severed = ask(replace(RATED, loss=1.0))
    plan = plan_verification([severed])
    assert plan.streams == ()
    assert plan.probes[0][0].round_trips is None
    assert plan.probes[0][0].train.give_up_after == 0
    assert plan_verification([one_way], goodput=False).streams == ()


def test_tcp_gets_time_to_fill_a_long_link_and_a_slow_one_is_counted_longer():
    far, slow = (replace(RATED, delay_us=300_000), replace(RATED, rate_bit_per_s=100_000))
    settle = [plan_verification([ask(each)]).streams[0][0].settle_s for each in (RATED, far)]
    assert settle == [1.5, 18.0]
    counted = [plan_verification([ask(each)]).streams[0][0].counted_s for each in (RATED, slow)]
    assert counted == [8.0, pytest.approx(48.4, abs=0.1)]


@pytest.mark.parametrize(("rate", "streams"), [(1_000_000, 4), (50_000_000, 9), (1_000_000_000, 32)])
def test_a_link_that_holds_much_is_filled_by_more_connections(rate, streams):
    ((stream,), _) = plan_verification([ask(replace(RATED, rate_bit_per_s=rate))]).streams
    assert stream.streams == streams


def test_a_lossy_link_gets_more_probes_and_more_patience():
    plain, lossy = (plan_verification([ask(replace(RATED, loss=loss))]).probes[0][0].round_trips for loss in (0.0, 0.5))
    assert (plain.count, plain.give_up_after) == (200, 10)
    assert lossy.count == 800
    assert 0.75**lossy.give_up_after < 1e-9


@pytest.mark.parametrize(
    ("condition", "packets", "interval_us"),
    [
        (LinkCondition(), 2_000, 1_000),
        (LinkCondition(loss=0.5), 2_000, 1_000),
        (LinkCondition(loss=0.01), 30_000, 1_000),
        (LinkCondition(rate_bit_per_s=1_000_000), 2_000, 10_080),
        (LinkCondition(rate_bit_per_s=10_000), 29, 1_008_000),
        (LinkCondition(delay_us=50_000, jitter_us=2_000, reorder=0.25), 2_500, 12_000),
        (LinkCondition(delay_us=50_000, jitter_us=12_000, reorder=0.25), 2_700, 2_000),
        (LinkCondition(delay_us=50_000, jitter_us=40_000, reorder=0.25), 2_700, 1_000),
    ],
)
def test_a_train_is_long_enough_for_its_shares_and_thin_enough_for_its_link(condition, packets, interval_us):
    link = ask(condition)
    assert (train_packets(link), train_interval_us(link)) == (packets, interval_us)


def test_the_base_is_measured_with_few_probes_and_no_train():
    ((one,), *_) = plan_base([ask()])
    assert one.round_trips.count == 100
    assert one.train is None
