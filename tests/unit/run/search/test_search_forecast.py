"""From profiles and links to the lines that are predicted: what each step takes, waits for, sends and is told."""

from __future__ import annotations

import statistics
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.errors import SpecError
from slicebed.run.search.forecast import Facts, LinkFacts, forecast, line_of, slice_times, throttle_of, with_times
from slicebed.run.search.profile_record import ANSWER, INPUT, CodecCost, HostFacts, HostProfile, Limits, PointTimes
from slicebed.run.search.profiles import Profiles
from slicebed.run.search.quota import limited_s
from slicebed.spec.experiment import load_experiment
from slicebed.spec.pipeline import Drop, StageKind
from slicebed.split.predict.line import Hop, Stage
from slicebed.split.search.contracts import Boundary, Candidate, Figure, Measure
from slicebed_agent.codec import lossless

ROOT = Path(__file__).parents[4]
TEXT = f"""\
name: forecast
testbed: {ROOT / "inventory" / "testbeds" / "couper_table3.yml"}
model: cnn14
chain: [client, edge, cloud]
frames: 50
source: {{rate: 24 frame/s, batch_size: 1, seed: 7, queue: 3, images: synthetic, resolution: 1280x720}}
stages:
  transformer: {{queue: 5, drop: oldest}}
  slice: {{queue: 4, drop: never}}
  outbound: {{queue: 1, drop: never}}
codec: raw
repeats: 1
order: {{randomised: false, seed: 0}}
placements:
  - {{name: sliced, transformer: client, slices: [client, edge, cloud], classifier: cloud, cuts: [[a, b]]}}
  - {{name: far, transformer: edge, slices: [edge, edge], cuts: [[a]]}}
"""
PICTURES = 1280 * 720 * 3
SIZES = {INPUT: 3000, "a": 8000, "b": 4000, ANSWER: 40}


def point(name, before, after, **codecs):
    rows = {"tensorproto": (1.01, 1e-6), "lossless": (0.5, 1e-3), "fp16": (0.5, 1e-4)} | codecs
    costs = tuple(
        CodecCost(codec, "", round(SIZES[name] * ratio), seconds, 2 * seconds)
        for codec, (ratio, seconds) in rows.items()
    )
    auto = tuple(
        CodecCost("auto", each.name, round(SIZES[name] * ratio), seconds, seconds)
        for each, ratio, seconds in ((lossless.BITMAP, 0.6, 1e-5), (lossless.FULL, 0.3, 1e-3))
    )
    shares = (Figure(share, share, share) for share in (before, after))
    return PointTimes((f"{name}:0",), *shares, SIZES[name], costs + auto)


def profile(host, whole_s=0.1, limits=None, **changes):
    points = {
        INPUT: point(INPUT, 0.0, 1.0),
        "a": point("a", 0.2, 0.85),
        "b": point("b", 0.6, 0.4),
        ANSWER: point(ANSWER, 1.0, 0.0),
    }
    known = HostProfile(
        model="m",
        sha256="0" * 64,
        batch=1,
        host=host,
        condition="c",
        limits=limits or Limits(),
        facts=HostFacts(host, "processor", 1, "2.20", "1"),
        shown="camera",
        whole_s=tuple(whole_s * factor for factor in (0.9, 1.0, 1.2)),
        whole_cpu_s=(0.05, 0.05, 0.05),
        call_s=0.001,
        kernels_s=0.048,
        transform_s=0.007,
        points=MappingProxyType(points),
    )
    return replace(known, **changes)


SLICED = Candidate(
    key="sliced",
    cut=("a", "b"),
    hosts=("client", "edge", "cloud"),
    placement="sliced",
    boundaries=(Boundary("client", "edge", 8000, 41_020_000, 0.02), Boundary("edge", "cloud", 4000, 0, 0.05)),
)
FAR = Candidate(
    key="far",
    cut=("a",),
    hosts=("edge", "edge"),
    placement="far",
    boundaries=(Boundary("client", "edge", PICTURES, 41_020_000, 0.02),),
)
PROFILES = Profiles({(host, ()): profile(host) for host in ("client", "edge", "cloud")})
LINKS = {("client", "edge"): LinkFacts(8_000_000, 0.030, 0.001), ("edge", "cloud"): LinkFacts(0, 0.010)}


@pytest.fixture
def facts_of(tmp_path):
    def made(text=TEXT):
        path = tmp_path / "experiment.yml"
        path.write_text(text, encoding="utf-8")
        experiment = load_experiment(path)
        return Facts(experiment, experiment.configurations[0], 50)

    return made


def test_a_slice_between_two_cuts_pays_for_both(facts_of):
    (found,) = with_times([SLICED], PROFILES)
    shares = (0.2, 0.85 + 0.6 - 1, 0.4)
    assert found.compute_s == pytest.approx([0.001 + share * 0.099 for share in shares])
    assert replace(found, compute_s=()) == SLICED
    line = line_of(facts_of(), SLICED, PROFILES, LINKS)
    slices = [step for step in line.stages if step.kind is StageKind.SLICE]
    assert [step.time.median_s for step in slices] == pytest.approx(found.compute_s)
    assert slices[0].time.parts[0].shape == pytest.approx((0.9, 1.0, 1.2))


def test_a_line_is_what_the_agents_are_told(facts_of):
    line = line_of(facts_of(), SLICED, PROFILES, LINKS)
    assert [step.name if isinstance(step, Stage) else "link" for step in line.steps] == [
        *("transformer", "slice", "link", "slice", "link", "slice", "classifier")
    ]
    assert (line.camera.places, line.camera.drop) == (3, Drop.NEWEST)
    waits = [(step.queue.places, step.queue.drop) for step in line.steps]
    # The first step's is the camera's; a classifier's is the default.
    assert waits == [(3, Drop.NEWEST), *[(4, Drop.NEVER), (1, Drop.NEVER)] * 2, (4, Drop.NEVER), (2, Drop.NEWEST)]
    assert line.stages[0].time.median_s == 0.007
    assert line.stages[-1].time.median_s == 0
    assert {step.overhead_ratio for step in line.stages} == {0.0}
    first, second = line.hops
    assert [(hop.sender, hop.receiver, hop.bytes) for hop in (first, second)] == [
        ("client", "edge", 8000),
        ("edge", "cloud", 4000),
    ]
    assert (first.rate_bit_per_s, second.rate_bit_per_s) == (8_000_000, 0)
    assert (first.encode.median_s, first.decode.median_s) == (0, 0)
    assert first.delay_s + first.back_delay_s == pytest.approx(0.030)
    assert second.delay_s + second.back_delay_s == pytest.approx(0.010)


def test_what_was_asked_says_how_a_round_trip_is_divided(facts_of, tmp_path):
    (tmp_path / "testbed.yml").write_text(
        "name: t\nhosts: {client: {role: client}, edge: {role: edge}, cloud: {role: cloud}}\nlinks:\n"
        "  - {between: [client, edge], at_sender: 20 ms, jitter: 2 ms}\n"
        "  - {between: [edge, cloud], rtt: 8 ms}\n"
        "tcp: streaming\n"
    )
    text = TEXT.replace(str(ROOT / "inventory" / "testbeds" / "couper_table3.yml"), "testbed.yml")
    first, second = line_of(facts_of(text), SLICED, PROFILES, LINKS).hops
    assert (first.delay_s, first.back_delay_s) == pytest.approx((0.025, 0.005), abs=1e-4)
    assert (first.jitter_s, first.back_jitter_s) == pytest.approx((0.002, 0.0), abs=1e-5)
    assert (second.delay_s, second.back_delay_s) == pytest.approx((0.005, 0.005))
    assert (first.slow_restart, second.slow_restart) == (False, False)
    assert line_of(facts_of(), SLICED, PROFILES, LINKS).hops[0].slow_restart


@pytest.mark.parametrize(
    ("codec", "sent", "encode_s", "decode_s"),
    [("tensorproto", 8080, 1e-6, 2e-6), ("lossless", 4000, 1e-3, 2e-3), ("fp16", 4000, 1e-4, 2e-4)],
)
def test_a_codec_costs_what_it_cost_in_the_profiles(facts_of, codec, sent, encode_s, decode_s):
    slow = replace(PROFILES.of["client", ()], points={"a": point("a", 0.2, 0.85, lossless=(0.5, 1e-3))})
    profiles = Profiles({**PROFILES.of, ("client", ()): slow})
    first = line_of(facts_of(), replace(SLICED, codec=codec), profiles, LINKS).hops[0]
    assert (first.bytes, first.encode.median_s, first.decode.median_s) == (sent, encode_s, decode_s)


@pytest.mark.parametrize(
    ("rate", "share", "encode_s"), [(0, 1.0, 0.0), (80_000_000, 0.6, 1e-5), (800_000, 0.3, 1e-3), (10**10, 1.0, 0.0)]
)
def test_auto_picks_what_the_agent_would_at_that_rate(facts_of, rate, share, encode_s):
    links = {("client", "edge"): LinkFacts(rate, 0.03)}
    first = line_of(facts_of(), replace(SLICED, codec="auto"), PROFILES, links).hops[0]
    assert (first.bytes, first.encode.median_s) == (round(8000 * share), encode_s)


def test_pictures_cross_before_the_transformer(facts_of):
    line = line_of(facts_of(), FAR, PROFILES, LINKS)
    assert isinstance(line.steps[0], Hop)
    assert line.hops[0].bytes == PICTURES
    assert [step.name for step in line.stages] == ["transformer", "slice", "slice2"]
    (times,) = with_times([FAR], PROFILES)
    assert times.compute_s == pytest.approx([0.001 + share * 0.099 for share in (0.2, 0.85)])
    copied = line_of(facts_of(), replace(FAR, codec="tensorproto"), PROFILES, LINKS).hops[0]
    assert copied.encode.median_s == pytest.approx(1e-6 * PICTURES / SIZES[INPUT])
    for codec in ("lossless", "auto"):
        with pytest.raises(SpecError, match=f"codec {codec} makes of pictures"):
            line_of(facts_of(), replace(FAR, codec=codec), PROFILES, LINKS)


def test_what_is_not_in_the_profiles_is_named(facts_of):
    facts = facts_of()
    with pytest.raises(SpecError, match="no profile of host cloud"):
        with_times([SLICED], Profiles({key: each for key, each in PROFILES.of.items() if key[0] != "cloud"}))
    with pytest.raises(SpecError, match="no split point c in it"):
        with_times([replace(SLICED, cut=("a", "c"))], PROFILES)
    with pytest.raises(SpecError, match="what codec uint8 costs at a was not measured"):
        line_of(facts, replace(SLICED, codec="uint8"), PROFILES, LINKS)
    blind = Profiles({**PROFILES.of, ("client", ()): profile("client", transform_s=None)})
    with pytest.raises(SpecError, match="without pictures"):
        line_of(facts, SLICED, blind, LINKS)
    with pytest.raises(SpecError, match="no placement 'nowhere'"):
        line_of(facts, replace(SLICED, placement="nowhere"), PROFILES, LINKS)
    with pytest.raises(SpecError, match="0 boundaries between 3 hosts"):
        line_of(facts, replace(SLICED, boundaries=()), PROFILES, LINKS)


def test_every_candidate_is_foretold_and_a_measure_moves_the_prediction(facts_of):
    foretell = forecast(facts_of(TEXT.replace("24 frame/s", "9 frame/s")), [SLICED, FAR], PROFILES, LINKS)
    before = foretell(())
    assert set(before) == {"sliced", "far"}
    # Transformer 7 ms, slices 94 ms, 8 ms for 8,000 bytes, 20 ms one way (and back in news of the end).
    assert 0.13 < before["sliced"].figures["latency"].value < 0.20
    # The pictures take 2.8 s of an 8 Mbit/s link each, at 9 frames a second.
    assert before["far"].figures["drop_rate"].value > 0.8
    slower = {"latency": Figure(0.25, 0.24, 0.26)}
    after = foretell([Measure("sliced", slower, compute_s=(0.032, 0.07, 0.062), frames=50)])
    assert after["sliced"].figures["latency"].value > before["sliced"].figures["latency"].value


def test_knobs_have_profiles_of_their_own(facts_of):
    fast = Profiles({**PROFILES.of, ("edge", (("edge.cores", 2.0),)): profile("edge", whole_s=0.05)})
    plain, turned = with_times([SLICED, replace(SLICED, knobs={"edge.cores": 2.0})], fast)
    assert turned.compute_s[1] < plain.compute_s[1]
    assert turned.compute_s[::2] == plain.compute_s[::2]


def test_under_a_limit_of_processor_time_long_slices_are_stretched_and_short_ones_are_not():
    limited = profile("edge", whole_s=0.1, limits=Limits(cpu_quota=0.5, cpu_period_us=20_000), call_s=0.0)
    whole = slice_times(limited, None, None, 0.0)
    assert whole.median_s == pytest.approx(0.1)
    short = replace(limited, points={**limited.points, "a": point("a", 0.1, 0.9)})
    # 5 ms of processor time are had of every 10 ms, at once or with a pause between.
    spent = [part * 1.0 for part in slice_times(short, None, "a", 1.0).parts[0].shape]
    assert slice_times(short, None, "a", 1.0).median_s < 0.1 * 0.1
    assert max(spent) >= min(spent)
    assert slice_times(limited, None, INPUT, 1.0).median_s == 0


def test_under_a_limit_slices_have_what_the_agent_leaves_them():
    def whole_s(quota, interval_s):
        limited = profile("edge", whole_s=0.1 / quota, limits=Limits(cpu_quota=quota, cpu_period_us=10_000), call_s=0.0)
        limited = replace(limited, whole_cpu_s=(0.1,), kernels_s=0.1)
        return slice_times(limited, None, None, interval_s).median_s * quota / 0.1

    assert whole_s(0.1, 0.0) == pytest.approx(1.0)
    # What is little beside a large limit is much of a small one.
    assert 1.15 < whole_s(0.1, 2.0) < 1.35
    assert whole_s(0.1, 0.5) > whole_s(0.1, 2.0)
    assert 1.0 <= whole_s(0.8, 2.0) < 1.06
    # However little is left, half of it is the slices'.
    assert whole_s(0.01, 1.0) == pytest.approx(2.0, rel=0.01)


def test_a_limit_that_the_model_does_not_reach_holds_up_nothing():
    half = throttle_of(profile("edge", limits=Limits(cpu_quota=0.5, cpu_period_us=20_000)))
    assert half is not None
    assert (half.pause_s, half.stretch) == (pytest.approx(0.01), pytest.approx(1.0))
    assert throttle_of(profile("edge", limits=Limits(cpu_quota=4.0))) is None
    assert throttle_of(profile("edge")) is None


work = st.floats(1e-4, 0.5)


@given(cpu_s=work, quota=st.floats(0.05, 1.0), period_s=st.sampled_from((0.01, 0.1)), interval_s=st.floats(0, 1))
def test_a_limit_never_makes_faster_and_never_slower_than_its_share_and_a_pause(cpu_s, quota, period_s, interval_s):
    spent = limited_s(cpu_s, 1.0, quota, period_s, interval_s)
    assert min(spent) >= cpu_s * (1 - 1e-6)
    assert max(spent) <= cpu_s / quota + 2 * period_s


@given(cpu_s=st.floats(0.05, 0.5), quota=st.floats(0.2, 0.9))
def test_frames_that_follow_each_other_take_their_share_of_the_limit(cpu_s, quota):
    assert statistics.fmean(limited_s(cpu_s, 1.0, quota, 0.01)) == pytest.approx(cpu_s / quota, rel=0.03)


def test_a_wide_run_uses_its_budget_up_sooner():
    assert limited_s(0.1, 2.0, 2.0, 0.1) == (0.05,)
    assert statistics.median(limited_s(0.1, 2.0, 1.0, 0.1, 1.0)) < 0.1
    assert statistics.fmean(limited_s(0.1, 2.0, 1.0, 0.1)) == pytest.approx(0.1, rel=0.05)


def test_early_exits_are_not_predicted(facts_of):
    facts = facts_of()
    pipeline = replace(facts.experiment.pipeline, exits=("an exit",))
    with pytest.raises(SpecError, match="frames end early"):
        forecast(replace(facts, experiment=replace(facts.experiment, pipeline=pipeline)), [SLICED], PROFILES, LINKS)
