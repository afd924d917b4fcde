from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from verify_samples import answer, ask, exactly, round_trips

from slicebed.errors import VerdictError
from slicebed.testbed.verify.answers import StreamAnswer
from slicebed.testbed.verify.judge import Probed, is_blurred, judge_host, judge_link, judge_stream
from slicebed.testbed.verify.plan import StreamPlan, plan_verification
from slicebed.testbed.verify.verdict import Quantity
from slicebed_agent.host.wish import Distribution, LinkCondition

SMOOTH = LinkCondition(delay_us=10_000)


def judged(link, samples, train=None, base_us=None):
    verdicts = judge_link(Probed(link, samples, train or answer(), 1_000, base_us))
    return {(verdict.link, verdict.quantity): verdict for verdict in verdicts}


def round_trip(link, samples, **more):
    return judged(link, samples, **more)[link.name, Quantity.RTT]


def jitter(link, samples):
    return judged(link, samples)[link.name, Quantity.JITTER]


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("delay_us", "jitter_us"), [(3_840, 1_761), (21_230, 8_188), (24_600, 9_468), (500, 0), (10_000, 10_000)]
)
def test_a_link_that_is_as_asked_passes(delay_us, jitter_us, seed):
    link = ask(LinkCondition(delay_us=delay_us, jitter_us=jitter_us))
    for verdict in judged(link, round_trips(link, seed=seed)).values():
        assert verdict.passed, verdict
        assert verdict.low <= verdict.measured <= verdict.high


@pytest.mark.parametrize(
    ("asked_us", "measured_us", "passes"),
    [
        (20_000, 20_400, True),
        (20_000, 19_600, True),
        (20_000, 20_400.1, False),
        (20_000, 19_599.9, False),
        (1_000, 1_300, True),
        (1_000, 1_300.1, False),
        (1_000, 699.9, False),
        (0, 300, True),
        (0, 301, False),
    ],
)
def test_the_round_trip_may_be_off_by_two_percent_or_three_tenths_of_a_millisecond(asked_us, measured_us, passes):
    link = ask(replace(SMOOTH, delay_us=asked_us // 2))
    verdict = round_trip(link, exactly(measured_us))
    assert verdict.passed is passes
    assert (verdict.asked, verdict.measured) == (asked_us / 1000, pytest.approx(measured_us / 1000))


@pytest.mark.parametrize(("factor", "passes"), [(1.149, True), (0.851, True), (1.151, False), (0.849, False)])
def test_the_jitter_may_be_off_by_fifteen_percent(factor, passes):
    link = ask(rtt_jitter_us=2_828)
    assert jitter(link, exactly(40_000, 2_828 * factor)).passed is passes


def test_a_jitter_as_large_as_the_delay_is_expected_to_be_cut_off_at_zero():
    link = ask(LinkCondition(delay_us=10_000, jitter_us=10_000))
    samples = round_trips(link, 2500)
    mean, deviation = round_trip(link, samples), jitter(link, samples)
    assert mean.expected == pytest.approx(21.67, abs=0.01)
    assert deviation.expected == pytest.approx(0.867 * deviation.asked, rel=0.01)
    assert mean.passed
    assert deviation.passed
    uniform = LinkCondition(delay_us=10_000, jitter_us=8_000, distribution=Distribution.UNIFORM)
    assert round_trip(ask(uniform), samples).expected == pytest.approx(20.5366, abs=0.001)


@pytest.mark.parametrize("jitter_us", [0, 500, 1_000])
@pytest.mark.parametrize(("delay_us", "reorder"), [(5_000, 0.05), (5_000, 0.01), (40_000, 0.25), (200_000, 0.5)])
def test_a_link_that_reorders_as_asked_passes(delay_us, reorder, jitter_us):
    link = ask(LinkCondition(delay_us=delay_us, jitter_us=jitter_us, reorder=reorder))
    count = plan_verification([link]).probes[0][0].round_trips.count
    quantities = [Quantity.RTT, Quantity.JITTER] if jitter_us else [Quantity.RTT]
    found = [judged(link, round_trips(link, count, seed=seed)) for seed in range(60)]
    failed = [each for each in found if not all(each[link.name, quantity].passed for quantity in quantities)]
    # Three standard errors are exceeded once in 370 times.
    assert len(failed) <= 2
    mean = round_trip(link, round_trips(link, count))
    assert mean.expected == pytest.approx((1 - reorder) * mean.asked)
    assert "leave at once" in mean.detail
    assert ((link.name, Quantity.JITTER) in found[0]) is (jitter_us > 0)


def test_a_link_that_does_not_reorder_as_asked_has_another_round_trip_than_expected():
    link = ask(LinkCondition(delay_us=20_000, jitter_us=500, reorder=0.25))
    still = ask(replace(link.forward, reorder=0.0))
    assert not round_trip(link, round_trips(still)).passed
    assert not jitter(link, round_trips(still)).passed


def test_a_direction_that_reorders_is_expected_to_vary_by_that():
    link = ask(LinkCondition(delay_us=20_000, jitter_us=500, reorder=0.1), LinkCondition(delay_us=20_000, reorder=0.2))
    verdicts = judged(link, round_trips(link))
    for name, deviation_ms in (("edge -> cloud", 6.02), ("cloud -> edge", 8.0)):
        assert verdicts[name, Quantity.ONE_WAY_JITTER].passed
        assert verdicts[name, Quantity.ONE_WAY_JITTER].expected == pytest.approx(deviation_ms, abs=0.01)


def test_a_few_samples_of_a_busy_machine_are_left_out_and_said():
    link = ask(SMOOTH)
    samples = replace(exactly(20_000), rtt_us=(*[20_000.0] * 980, *[90_000.0] * 20))
    verdict = round_trip(link, samples)
    assert verdict.passed
    assert verdict.samples == 980
    assert "20 of 1000 samples later than the condition can make them, left out" in verdict.detail


def test_more_than_a_few_late_samples_all_count():
    link = ask(SMOOTH)
    verdict = round_trip(link, replace(exactly(20_000), rtt_us=(*[20_000.0] * 979, *[90_000.0] * 21)))
    assert not verdict.passed
    assert verdict.samples == 1000
    assert verdict.detail.endswith("21 of 1000 samples later than the condition can make them")


def test_too_few_samples_fail_whatever_they_say():
    link = ask()
    samples = round_trips(link, 29)
    verdicts = judged(link, replace(samples, sent=800, forward_received=29, backward_sent=29, backward_received=29))
    for quantity in (Quantity.RTT, Quantity.JITTER):
        verdict = verdicts["edge -> cloud", quantity]
        assert not verdict.passed
        assert verdict.detail == "too few samples: 29 of 800 probes counted, 30 are needed"


@pytest.mark.parametrize(
    ("reached", "says"),
    [
        (0, "none of 10 probes reached cloud (192.0.2.1 to 192.0.2.2)"),
        (4, "4 of 10 probes reached cloud, but no answer came back"),
    ],
)
def test_no_sample_at_all_is_an_error_that_names_the_link_and_how_to_mend_it(reached, says):
    silent = answer(sent=10, forward_received=reached, backward_sent=reached, backward_received=0)
    with pytest.raises(VerdictError) as caught:
        judge_link(Probed(ask(), silent, None, 0))
    assert str(caught.value).startswith(f"edge -> cloud: {says}")
    assert "firewall" in str(caught.value)


def test_the_base_round_trip_is_shown_and_said_to_be_what_is_too_much():
    link = ask(SMOOTH)
    verdict = round_trip(link, exactly(20_900), base_us=880.0)
    assert not verdict.passed
    assert verdict.base_ms == 0.88
    assert "the base of 0.880 ms comes on top: compensate: true takes it off" in verdict.detail
    assert "compensate" not in round_trip(link, exactly(23_000), base_us=880.0).detail


def test_a_slow_links_own_time_for_a_probe_may_come_on_top_but_not_be_missing():
    link = ask(replace(SMOOTH, rate_bit_per_s=1_000_000))
    assert round_trip(link, exactly(20_000)).passed
    assert round_trip(link, exactly(22_000)).passed
    assert not round_trip(link, exactly(22_500)).passed
    assert not round_trip(link, exactly(19_500)).passed


def test_directions_that_vary_differently_are_told_apart_in_spite_of_clocks_that_differ():
    link = ask(LinkCondition(delay_us=20_000, jitter_us=3_000), LinkCondition(delay_us=5_000))
    samples = round_trips(link, clock_us=7e9)
    one_way = {key[0]: found for key, found in judged(link, samples).items() if key[1] is Quantity.ONE_WAY_JITTER}
    assert all(verdict.passed for verdict in one_way.values())
    assert one_way["edge -> cloud"].measured == pytest.approx(3.0, rel=0.05)
    assert one_way["cloud -> edge"].measured < 0.1
    swapped = replace(link, forward=link.backward, backward=link.forward)
    failed = {key for key, verdict in judged(swapped, samples).items() if not verdict.passed}
    assert failed == {("edge -> cloud", Quantity.ONE_WAY_JITTER), ("cloud -> edge", Quantity.ONE_WAY_JITTER)}


LOSSY = LinkCondition(delay_us=10_000, loss=0.05)


@pytest.mark.parametrize(
    ("asked", "sent", "lost", "passes"),
    [
        (0.05, 2_000, 100, True),
        (0.05, 2_000, 115, True),  # inside the interval
        (0.05, 2_000, 150, False),
        (0.05, 100_000, 5_500, True),  # outside the interval, but no more than a tenth off
        (0.05, 100_000, 5_501, False),
        (0.05, 100_000, 4_499, False),
        (0.0, 2_000, 0, True),
        (0.0, 2_000, 2, True),
        (0.0, 2_000, 20, False),
        (0.0, 200, 1, True),  # chance explains it
        (0.0, 100_000, 300, False),
        (1.0, 2_000, 2_000, True),
        (1.0, 2_000, 1_990, True),
        (1.0, 2_000, 1_700, False),
        (0.001, 10_000, 0, True),
    ],
)
def test_loss_passes_inside_the_interval_or_near_what_was_asked(asked, sent, lost, passes):
    link = ask(SMOOTH, replace(SMOOTH, loss=asked))
    train = answer(sent=sent, backward_received=sent - lost)
    verdict = judge_link(Probed(link, None, train, 1_000))[1]
    assert (verdict.link, verdict.quantity) == ("cloud -> edge", Quantity.LOSS)
    assert verdict.passed is passes, verdict
    assert verdict.detail == f"{lost} of {sent}"


def test_loss_is_blamed_on_its_own_direction_and_not_on_a_hosts_full_buffer():
    link = ask(LOSSY, SMOOTH)
    train = answer(forward_received=1_880, forward_overflowed=20, backward_sent=1_880, backward_received=1_880)
    verdicts = judged(link, exactly(20_000), train=train)
    assert verdicts["edge -> cloud", Quantity.LOSS].detail == "100 of 3000"
    assert verdicts["cloud -> edge", Quantity.LOSS].measured == 0


def test_a_severed_link_is_judged_by_its_loss_alone():
    link = ask(LinkCondition(delay_us=10_000, loss=1.0), SMOOTH)
    verdicts = judge_link(Probed(link, None, answer(forward_received=0, backward_sent=0, backward_received=0), 1_000))
    assert [(verdict.link, verdict.quantity, verdict.passed) for verdict in verdicts] == [
        ("edge -> cloud", Quantity.LOSS, True)
    ]


def test_correlated_losses_are_worth_fewer_samples():
    link = ask(replace(LOSSY, loss_correlation=0.5), LOSSY)
    train = answer(forward_received=1_900, backward_sent=1_900, backward_received=1_805)
    verdicts = judge_link(Probed(link, None, train, 1_000))
    wide, narrow = (verdict.high - verdict.low for verdict in verdicts)
    assert wide > 1.5 * narrow


def test_duplicates_and_order_are_judged_where_asked_or_seen():
    link = ask(replace(SMOOTH, duplicate=0.02, reorder=0.25), SMOOTH)
    train = answer(forward_duplicates=41, forward_overtakings=500, backward_duplicates=60, backward_overtakings=80)
    verdicts = judged(link, exactly(20_000, count=40), train=train)
    assert verdicts["edge -> cloud", Quantity.DUPLICATE].passed
    assert verdicts["edge -> cloud", Quantity.REORDER].passed
    assert not verdicts["cloud -> edge", Quantity.DUPLICATE].passed
    assert not verdicts["cloud -> edge", Quantity.REORDER].passed
    assert (("edge -> cloud", Quantity.DUPLICATE) in judged(ask(SMOOTH), exactly(20_000))) is False


def test_what_jitter_reorders_is_no_fault():
    train = answer(forward_overtakings=700)
    assert ("edge -> cloud", Quantity.REORDER) not in judged(ask(), round_trips(ask()), train=train)


RATE = 50_000_000
EXPECTED = 50 * 1448 / 1514


def stream(mbit_per_s, condition=None, *, windows=80, times=1, **changed):
    rated = condition or LinkCondition(delay_us=10_000, rate_bit_per_s=RATE)
    sizes = tuple(round(value * 1e6 / 8 / 10) for value in np.broadcast_to(mbit_per_s, windows))
    plain = StreamAnswer(
        window_us=100_000,
        windows=sizes,
        mss_bytes=1448,
        timestamps=True,
        ip_version=4,
        streams=4,
        congestion="cubic",
        retransmitted=0,
    )
    plan = StreamPlan(ask(rated, SMOOTH), backward=False, streams=4, settle_s=1.5, counted_s=6.0)
    return judge_stream(plan, [replace(plain, **changed)] * times)


@pytest.mark.parametrize(
    ("share", "passes"), [(1.0, True), (0.981, True), (1.019, True), (0.979, False), (1.021, False)]
)
def test_goodput_may_be_off_by_two_percent_of_what_the_frames_can_carry(share, passes):
    verdict = stream(EXPECTED * share)
    assert verdict.passed is passes
    assert (verdict.asked, verdict.expected) == (50.0, pytest.approx(EXPECTED))
    assert verdict.quantity is Quantity.GOODPUT


def test_the_expected_goodput_follows_from_what_the_segments_carried():
    assert stream(40, mss_bytes=1460, timestamps=False).expected == pytest.approx(50 * 1460 / 1514)
    assert stream(40, mss_bytes=1428, ip_version=6).expected == pytest.approx(50 * 1428 / 1514)
    assert stream(40, mss_bytes=8948).expected == pytest.approx(50 * 8948 / 9014)


def test_the_time_that_tcp_takes_to_fill_the_link_is_not_counted():
    ramp = np.concatenate([np.linspace(1, EXPECTED, 15), np.full(65, EXPECTED)])
    assert stream(ramp).passed


def test_a_stream_that_stalls_or_never_begins_fails():
    assert not stream(EXPECTED, windows=60).passed
    nothing = stream(EXPECTED, windows=0)
    assert not nothing.passed
    assert nothing.measured == 0


def test_where_loss_is_asked_only_the_ceiling_of_goodput_is_judged_and_said_to_be():
    lossy = LinkCondition(delay_us=10_000, loss=0.01, rate_bit_per_s=RATE)
    slow, fast = stream(5, lossy), stream(55, lossy)
    assert slow.passed
    assert not fast.passed
    assert slow.detail.startswith("only the ceiling is judged")
    assert not stream(0, lossy).passed


def test_intervals_of_goodput_allow_for_neighbours_that_depend_on_each_other():
    generator = np.random.default_rng(4)
    slow_waves = EXPECTED + np.repeat(generator.standard_normal(16), 5)
    verdict = stream(slow_waves)
    assert verdict.samples == 12
    assert verdict.high - verdict.low > 0.7


def test_more_streams_sharpen_what_jitter_blurs():
    generator = np.random.default_rng(4)
    blurred = EXPECTED + 10 * np.repeat(generator.standard_normal(16), 5)
    once, thrice = stream(blurred), stream(blurred, times=3)
    assert is_blurred(once)
    assert thrice.samples == 36
    assert thrice.high - thrice.low < 0.7 * (once.high - once.low)
    assert not is_blurred(stream(EXPECTED))


def test_a_hosts_own_conditions_are_judged_by_what_was_read_or_sampled():
    clock = judge_host("edge", Quantity.FREQUENCY, 3_100, [3_090, 3_095, 3_100], 62)
    assert clock.passed
    assert clock.low < clock.measured < clock.high
    assert not judge_host("edge", Quantity.CORES, 4, [8], 0, detail="read from sysfs").passed
    with pytest.raises(VerdictError, match="edge cores: nothing was measured"):
        judge_host("edge", Quantity.CORES, 4, [], 0)


def test_what_the_plan_asks_for_is_enough_to_pass_with_certainty():
    link = ask(LinkCondition(delay_us=21_230, jitter_us=8_188))
    planned = plan_verification([link]).probes[0][0].round_trips
    passed = [round_trip(link, round_trips(link, planned.count, seed=seed)).passed for seed in range(40)]
    assert all(passed)
