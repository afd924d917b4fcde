"""What measures teach, and what they do not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from slicebed.split.predict.corrections import Computed, Doubt, Seen, Unknowns, learn
from slicebed.split.predict.line import Hop, Line, Stage, Throttle
from slicebed.split.predict.times import Times

DOUBT = Doubt()


def _line(near_s: float, far_s: float, kilobytes: float = 100.0) -> Line:
    hop = Hop("near", "far", round(1000 * kilobytes), 50e6, 0.02, back_delay_s=0.02)
    return Line((Stage("slice", "near", Times.fixed(near_s)), hop, Stage("slice", "far", Times.fixed(far_s))))


LINES = [_line(0.01 * place, 0.1 - 0.01 * place, 200.0 / place) for place in range(1, 10)]
UNKNOWNS = Unknowns(LINES, DOUBT)


def _predict(line: Line):
    """Latency of an idle line, by hand."""
    near, hop, far = line.stages[0], line.hops[0], line.stages[1]

    def of(world) -> float:
        link_s = 8 * hop.bytes / (hop.rate_bit_per_s * world.rates["near", "far"]) * world.all
        work_s = near.time.median_s * world.hosts["near"] + far.time.median_s * world.hosts["far"]
        return work_s * world.all + link_s + 0.04 + world.extras_s["near", "far"] + world.constant_s

    return of


def _seen(line: Line, *, near: float = 1.0, far: float = 1.0, own: float = 1.0, noise: float = 0.002) -> Seen:
    vector = np.zeros(len(UNKNOWNS.spread))
    vector[UNKNOWNS.host("near")], vector[UNKNOWNS.host("far")] = math.log(near), math.log(far)
    computed = [(each.host, each.time.median_s) for each in line.stages]
    factors = {"near": near * own, "far": far * own}
    return Seen(
        line=line,
        latency_s=_predict(line)(UNKNOWNS.world(vector, math.log(own))),
        noise=noise,
        compute=tuple(Computed(host, factors[host] * seconds, seconds) for host, seconds in computed),
        predict_s=_predict(line),
    )


def _hosts(belief) -> dict[str, float]:
    return dict(UNKNOWNS.world(belief.mean).hosts)


def _deviation(belief, place: int) -> float:
    return float(np.linalg.norm(belief.root[place]))


def test_nothing_measured_changes_nothing():
    belief = learn(UNKNOWNS, [])
    assert belief.mean.tolist() == [0.0] * len(UNKNOWNS.spread)
    assert belief.scale == 1.0
    covariance = belief.root @ belief.root.T
    assert np.sqrt(np.diag(covariance)) == pytest.approx(UNKNOWNS.spread, rel=1e-4, abs=1e-6)


def test_one_measure_moves_a_host_part_of_the_way_and_more_move_it_further():
    one = _hosts(learn(UNKNOWNS, [_seen(LINES[4], near=1.3)]))
    five = _hosts(learn(UNKNOWNS, [_seen(line, near=1.3) for line in LINES[:5]]))
    assert 1.1 < one["near"] < 1.3
    assert one["near"] < five["near"] < 1.31
    assert five["near"] == pytest.approx(1.3, rel=0.03)
    assert five["far"] == pytest.approx(1.0, rel=0.03)


def test_measures_narrow_what_they_speak_of():
    before = learn(UNKNOWNS, [])
    after = learn(UNKNOWNS, [_seen(line) for line in LINES[:4]])
    place = UNKNOWNS.host("near")
    assert _deviation(after, place) < 0.5 * _deviation(before, place)
    assert after.scale < 1.0
    assert after.reach < before.reach


def test_what_no_measure_speaks_of_stays_as_doubtful():
    elsewhere = Line((Stage("slice", "other", Times.fixed(0.1)),))
    unknowns = Unknowns([*LINES, elsewhere], DOUBT)
    seen = Seen(LINES[0], None, 0.0, (Computed("near", 0.02, 0.01),), lambda _: 1.0)
    belief = learn(unknowns, [seen])
    assert belief.mean[unknowns.host("other")] == 0.0
    assert _deviation(belief, unknowns.host("other")) == pytest.approx(DOUBT.host, rel=1e-3)
    assert belief.mean[unknowns.host("near")] > 0.3


def test_measures_that_contradict_each_other_make_doubt_larger():
    agree = learn(UNKNOWNS, [_seen(line) for line in LINES[:4]])
    own = (0.7, 1.4, 0.75, 1.3)
    contradict = learn(UNKNOWNS, [_seen(line, own=each) for line, each in zip(LINES[:4], own, strict=True)])
    assert contradict.scale > 2.5
    assert agree.scale < 1.0


def test_a_compute_time_too_short_to_be_known_teaches_little():
    short = Seen(LINES[0], None, 0.0, (Computed("near", 0.0004, 0.0002),), lambda _: 1.0)
    long = Seen(LINES[0], None, 0.0, (Computed("near", 0.04, 0.02),), lambda _: 1.0)
    place = UNKNOWNS.host("near")
    assert learn(UNKNOWNS, [short]).mean[place] < 0.05
    assert learn(UNKNOWNS, [long]).mean[place] > 0.3


def test_a_latency_alone_is_shared_among_all_that_it_passed():
    line = LINES[4]
    usual_s = _predict(line)(UNKNOWNS.world(np.zeros(len(UNKNOWNS.spread))))
    belief = learn(UNKNOWNS, [Seen(line, 1.2 * usual_s, 0.01, (), _predict(line))])
    world = UNKNOWNS.world(belief.mean)
    assert world.hosts["near"] > 1.02
    assert world.hosts["far"] > 1.02
    assert world.rates["near", "far"] < 1.0
    assert world.extras_s["near", "far"] > 0.0
    assert world.constant_s > 0.0


def test_the_order_of_measures_does_not_matter():
    seen = [_seen(line, near=1.2, own=own) for line, own in zip(LINES, (1.0, 0.95, 1.05, 1.1), strict=False)]
    one, other = learn(UNKNOWNS, seen), learn(UNKNOWNS, seen[::-1])
    assert one.mean == pytest.approx(other.mean)
    assert one.scale == pytest.approx(other.scale)


def test_what_is_known_exactly_is_not_corrected():
    unknowns = Unknowns(LINES, Doubt(host=0.0, rate=0.0, extra_s=0.0, constant_s=0.0))
    belief = learn(unknowns, [_seen(line, near=1.3) for line in LINES[:3]])
    assert belief.mean == pytest.approx(np.zeros(len(unknowns.spread)), abs=1e-9)
    assert belief.scale > 1.0


def test_one_measure_on_a_busy_machine_is_not_taken_for_the_hosts_speed():
    usual = [_seen(line) for line in (LINES[2], LINES[4], LINES[6])]
    busy = _seen(LINES[5], near=1.5, far=1.5)
    assert 1.0 < _hosts(learn(UNKNOWNS, [*usual, busy]))["near"] < 1.03
    # Alone, nobody knows which of them it is; several that agree are believed.
    assert 1.05 < _hosts(learn(UNKNOWNS, [busy]))["near"] < 1.4
    agreeing = [_seen(line, near=1.5, far=1.5) for line in LINES[2:7]]
    assert _hosts(learn(UNKNOWNS, agreeing))["near"] == pytest.approx(1.5, rel=0.05)


def test_pauses_of_a_limited_host_are_not_taken_for_its_speed():
    throttle = Throttle(0.13, 0.01)
    lines = [Line((Stage("slice", "near", Times.fixed(0.01 * place), throttle=throttle),)) for place in range(1, 60)]
    unknowns = Unknowns(lines, DOUBT)

    def seen(line, besides_s):
        (stage,) = line.stages
        found_s = stage.time.median_s + besides_s
        computed = Computed("near", found_s, stage.time.median_s, pause_s=throttle.pause_s)
        latency_s = stage.time.median_s

        def predict_s(world):
            return latency_s * world.hosts["near"] * world.all + world.stalls_s["near"] + world.constant_s

        return Seen(line, found_s, 0.01, (computed,), predict_s)

    short = unknowns.world(learn(unknowns, [seen(lines[0], 0.02), seen(lines[1], 0.02)]).mean)
    assert short.hosts["near"] < 1.05
    assert short.stalls_s["near"] > 0.01
    # Of a long one nothing but the speed can make so much.
    long = unknowns.world(
        learn(unknowns, [seen(line, 0.3 * line.stages[0].time.median_s) for line in lines[40:43]]).mean
    )
    assert long.hosts["near"] > 1.15


def test_without_a_limit_slices_take_nothing_besides():
    world = UNKNOWNS.world(learn(UNKNOWNS, [_seen(line, near=1.3) for line in LINES[:5]]).mean)
    assert dict(world.stalls_s) == {"near": 0.0, "far": 0.0}
