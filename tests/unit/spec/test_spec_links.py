"""From the keys of a link to the conditions of its two directions."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slicebed.spec.links import condition_to_plain, find_contradictions, make_link
from slicebed.spec.problems import SpecErrors
from slicebed.spec.testbed import load_testbed
from slicebed.spec.testbed_model import LinkModel
from slicebed_agent.host.wish import Distribution, LinkCondition, ShapeAt, parse_wish


def link(**keys):
    model = LinkModel.model_validate({"between": ["a", "b"], **keys})
    assert find_contradictions(model) == []
    return make_link(model)


def test_a_round_trip_is_split_over_both_directions():
    found = link(rtt="7.68 ms", jitter="2.49 ms", rate="89.90 Mbit/s")
    each_way = LinkCondition(delay_us=3_840, jitter_us=1_761, rate_bit_per_s=89_900_000)
    assert (found.forward, found.backward) == (each_way, each_way)
    assert (found.asked.rtt_us, found.asked.rtt_jitter_us) == (7_680, 2_490)


def test_an_odd_microsecond_goes_forward():
    found = link(rtt="5 us")
    assert (found.forward.delay_us, found.backward.delay_us) == (3, 2)


def test_one_way_is_asked_of_each_way():
    found = link(one_way="20 ms", jitter="5 ms")
    assert found.forward == found.backward == LinkCondition(delay_us=20_000, jitter_us=5_000)
    assert (found.asked.rtt_us, found.asked.rtt_jitter_us) == (40_000, round(5_000 * math.sqrt(2)))


def test_at_sender_holds_the_whole_round_trip_back_on_the_way_out():
    found = link(at_sender="20 ms", jitter="5 ms", reorder="1 %", loss="2 %")
    assert found.forward == LinkCondition(delay_us=20_000, jitter_us=5_000, reorder=0.01, loss=0.02)
    assert found.backward == LinkCondition(loss=0.02)
    assert (found.asked.rtt_us, found.asked.rtt_jitter_us) == (20_000, 5_000)
    assert found.asked.loss == pytest.approx(0.0396)


def test_a_direction_overrules_the_link():
    found = link(
        one_way="20 ms",
        rate="10 Mbit/s",
        distribution="pareto",
        forward={"rate": "1 Mbit/s", "queue": "50 packets", "loss": "0.1 %"},
        backward={"delay": "1 ms", "jitter": "1 ms", "distribution": "uniform"},
        shape_at="receiver",
        compensate=True,
    )
    pareto = Distribution.PARETO
    assert found.forward == LinkCondition(20_000, 0, pareto, loss=0.001, rate_bit_per_s=1_000_000, queue_packets=50)
    assert found.backward == LinkCondition(1_000, 1_000, Distribution.UNIFORM, rate_bit_per_s=10_000_000)
    assert found.shape_at is ShapeAt.RECEIVER
    assert found.compensate
    assert found.asked.forward_rate_bit_per_s == 1_000_000
    assert found.direction("b") == found.backward


def test_two_directions_need_no_delay_of_the_link():
    found = link(forward={"delay": "30 ms"}, backward={"delay": "5 ms"}, jitter="1 ms")
    assert found.forward == LinkCondition(30_000, 1_000)
    assert found.backward == LinkCondition(5_000, 1_000)


@given(rtt=st.integers(0, 120_000_000), share=st.floats(0, 0.7))
def test_every_split_adds_up_to_what_was_asked(rtt, share):
    jitter = int(rtt // 2 * share)
    asked = link(rtt=f"{rtt} us", jitter=f"{jitter} us").asked
    assert asked.rtt_us == rtt
    assert abs(asked.rtt_jitter_us - jitter) <= 1


@given(rtt=st.integers(0, 10_000), jitter=st.integers(0, 10_000))
def test_what_is_refused_is_what_is_outside_the_range_that_is_told(rtt, jitter):
    def problems(jitter_us):
        keys = {"between": ["a", "b"], "rtt": f"{rtt} us", "jitter": f"{jitter_us} us"}
        return find_contradictions(LinkModel.model_validate(keys))

    most = math.floor(rtt // 2 * math.sqrt(2))
    assert not problems(most)
    assert bool(problems(jitter)) == (round(jitter / math.sqrt(2)) > rtt // 2)


SHARES = st.integers(0, 100_000_000).map(lambda millionths: f"{millionths / 1_000_000:.6f} %")
RATES = st.integers(8_000, 10**11).map(lambda rate: f"{rate} bit/s")
ONE_WAY = st.fixed_dictionaries(
    {"one_way": st.integers(0, 60_000_000).map(lambda us: f"{us} us")},
    optional={
        "jitter": st.integers(0, 60_000_000).map(lambda us: f"{us} us"),
        "distribution": st.sampled_from([each.value for each in Distribution]),
        "loss": SHARES,
        "loss_correlation": SHARES,
        "duplicate": SHARES,
        "reorder": SHARES,
        "reorder_correlation": SHARES,
        "rate": RATES,
        "queue": st.integers(1, 10_000_000).map(lambda packets: f"{packets} packets"),
        "forward": st.fixed_dictionaries({}, optional={"rate": RATES, "loss": SHARES}),
    },
)


@given(ONE_WAY)
def test_what_is_not_refused_is_a_wish_that_a_host_takes(keys):
    model = LinkModel.model_validate({"between": ["a", "b"], **keys})
    if find_contradictions(model):
        return
    found = make_link(model)
    for condition in (found.forward, found.backward):
        plain = {"peer": "b", "peer_address": "10.0.0.2", "condition": condition_to_plain(condition)}
        wish = parse_wish(json.loads(json.dumps({"host": "a", "network": {"links": [plain]}})))
        assert wish.network.links[0].condition == condition


def test_mistakes_of_every_host_and_link_are_told_at_once(tmp_path):
    path = tmp_path / "testbed.yml"
    path.write_text(
        "name: all\n"
        "hosts:\n"
        "  a: {role: x, memory: none}\n"
        "  b: {role: x, cpu_frequency: 1 GHz, cpu_frequency_min: 1 GHz}\n"
        "links:\n"
        "  - {between: [a, b], rtt: 1 ms, jitter: 2 ms}\n"
        "  - {between: [b, a], one_way: 1 ms, queue: 5 packets, loss_correlation: 5 %}\n",
        encoding="utf-8",
    )
    with pytest.raises(SpecErrors) as caught:
        load_testbed(path)
    places = [line.removeprefix(f"{path}:").split(": ")[0] for line in caught.value.lines]
    assert places == ["3:24", "4:57", "6:42", "7:15", "7:45", "7:74"]


def test_a_problem_found_later_can_name_its_line(tmp_path):
    path = tmp_path / "testbed.yml"
    path.write_text(
        "name: t\nhosts:\n  a: {role: x}\n  b:\n    role: x\n    boost: false\nlinks:\n"
        "  - between: [a, b]\n    rtt: 1 ms\n    loss: 1 %\n",
        encoding="utf-8",
    )
    testbed = load_testbed(path)
    assert testbed.place_of_host("b") == f"{path}:4"
    assert testbed.place_of_host("b", "boost") == f"{path}:6"
    assert testbed.place_of_host("b", "smt") == f"{path}:4"
    assert testbed.place_of_link("b", "a") == f"{path}:8"
    assert testbed.place_of_link("b", "a", "loss") == f"{path}:10"
    assert testbed.place_of_link("a", "c") == f"{path}:7"
    assert testbed.place_of_host("c") == str(path)
