"""The candidates of ADR 10: each computes the same, and what is said of them."""

import time

import numpy as np
import pytest
from benchmarks.network.tables import WIDTH
from benchmarks.slicer.candidates import report
from benchmarks.slicer.candidates.compare import Compared, Found
from benchmarks.slicer.candidates.limits import Watch
from benchmarks.slicer.candidates.plan import Plan, part, parts
from benchmarks.slicer.candidates.segments import between
from benchmarks.slicer.candidates.ways import NAMES, opener
from benchmarks.slicer.candidates.worker import difference, measure
from benchmarks.slicer.workers import BenchmarkError, Worker
from small_graphs import GraphBuilder

from slicebed_agent.model.cuts.algorithms import split_points
from slicebed_agent.model.graphdef.read import read_graph

# A candidate lives as long as its process; here its file is closed by the collector.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def plan(tmp_path):
    """A model with a skip around a product with weights, and cuts that the skip passes through."""
    builder, generator = GraphBuilder(), np.random.default_rng(3)
    first = builder.apply("Relu", builder.input(None, 8, 8, 4), name="first")
    left = builder.convolve(first, generator.normal(size=(3, 3, 4, 40)), name="left")
    middle = builder.apply("Relu", left, name="middle")
    narrow = builder.convolve(middle, generator.normal(size=(3, 3, 40, 4)), name="narrow")
    joined = builder.apply("AddV2", narrow, first, name="joined")
    last = builder.apply("Tanh", joined, name="last")
    path = builder.write(tmp_path / "model.pb")
    graph = read_graph(path, inputs=["input:0"], outputs=[last])
    at = {point.name: point for point in split_points(graph, "exact", 2)}
    across = next(point for name, point in at.items() if "middle" in name)
    return Plan(
        model="small",
        path=str(path),
        inputs=(("input:0", "float32", (None, 8, 8, 4)),),
        whole=part(graph, graph.inputs, graph.outputs),
        cuts=(parts(graph, (across, at["joined"])), parts(graph, (at["first"], across))),
        segments=parts(graph, (at["first"], across, at["joined"])),
        layers={},
        seed=1,
    )


@pytest.mark.parametrize("way", [name for name in NAMES if name != "Keras"])  # Keras has no model of such a file
def test_every_candidate_computes_the_same(plan, way):
    found = {}
    zeros = [np.zeros((1, 8, 8, 4), np.float32)]
    for step in measure(way, plan, zeros, rounds=3, longest_s=60.0):
        found |= step
    known = Found(**found)
    assert known.from_whole < 1e-6
    assert known.from_keras == float("inf")  # this reference is nothing but zeros
    assert len(known.whole_s) == len(known.three_s) == 3
    assert [len(cut["prepare_s"]) for cut in known.cuts] == [3, 3]
    assert 0 < known.ready["own_bytes"] < known.ready["resident_bytes"] <= known.at_the_end["peak_bytes"]


def test_what_crosses_and_passes_through_is_not_computed_again(plan):
    second = plan.cuts[0][1]
    assert set(second.feeds) == {"first:0", "middle:0"} == set(second.needed)
    assert second.computed == ("joined:0",)
    ahead = plan.cuts[1][1]
    assert (ahead.needed, ahead.computed) == (("first:0",), ("middle:0",))
    assert set(ahead.fetches) == {"first:0", "middle:0"}


def test_a_plan_survives_its_file(plan):
    assert Plan.from_json(plan.to_json()) == plan


def test_segments_of_a_part_lie_between_its_ends(plan):
    assert between(plan.segments, plan.cuts[0][0]) == plan.segments[:2]
    with pytest.raises(ValueError, match="not in"):
        between(plan.segments, part_of_elsewhere(plan))


def part_of_elsewhere(plan):
    return type(plan.whole)(("left:0",), plan.whole.fetches, (), ())


def test_keras_sub_models_are_the_frozen_model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    from benchmarks.slicer.candidates.plan import plan as plan_of

    from slicebed.split.model import open_source
    from slicebed_agent.model.execute.check import seeded_frame
    from slicebed_agent.model.source import ModelSource

    asked = plan_of(open_source(ModelSource("cnn14")), 5)
    frame = [seeded_frame(each, asked.seed, 1) for each in asked.entrances()]
    candidate = opener("Keras")(asked)
    said = candidate.answer(frame)
    for cut in asked.cuts:
        arrays = tuple(frame)
        for each in cut:
            arrays = candidate.prepare(each, arrays)(arrays)
        assert difference(arrays, said) < 1e-5
    fed = opener(NAMES[0])(asked)
    assert difference(fed.prepare(asked.whole, frame)(frame), said) < 1e-5
    fed._executor.close()


def test_a_difference_is_of_the_largest_value_and_never_hidden():
    assert difference([np.array([1.0, 4.0])], [np.array([2.0, 4.0])]) == 0.25
    assert difference([np.zeros(2)], [np.zeros(2)]) == 0
    assert difference([np.array([np.nan, 4.0])], [np.array([2.0, 4.0])]) == float("inf")


@pytest.mark.parametrize(
    ("limits", "reason"), [({"most_bytes": 1}, "stopped above 0 GB"), ({"longest_s": 0.0}, "stopped after 0 s")]
)
def test_a_process_above_its_limit_is_stopped_and_says_why(limits, reason):
    with (
        Worker("cut_worker", "slicebed") as worker,  # it waits for a line
        Watch(worker, **limits) as watch,
        pytest.raises(BenchmarkError, match="died"),
    ):
        list(worker.answers())
    assert watch.reason == reason


def test_a_process_within_its_limits_is_left_alone():
    with Worker("cut_worker", "slicebed") as worker, Watch(worker) as watch:
        time.sleep(0.3)
        assert worker.pid
    assert not watch.reason


def compared():
    memory = {"resident_bytes": 1_200_000_000, "own_bytes": 900_000_000, "peak_bytes": 4_500_000_000}
    whole = Found(
        load_s=12.5,
        loaded=memory,
        whole_prepare_s=17.25,
        cuts=[{"prepare_s": [1.0, 2.0, 3.0], "added_bytes": 400_000_000}] * 3,
        ready=memory,
        at_the_end=memory,
        from_whole=2e-7,
        from_keras=0.0,
        whole_s=[0.5] * 5,
        three_s=[0.6] * 5,
    )
    return Compared([], 119, {"C API, constants": whole, "segments": Found(load_s=1.0, stopped="stopped after 300 s")})


def test_tables_say_what_is_known_and_what_stopped_the_rest():
    found = compared()
    memory, times = report.memory_table(found).splitlines(), report.time_table(found).splitlines()
    assert memory[2].split()[3:] == ["1200", "1200", "900", "400", "4500", "2.0e-07", "0"]
    assert memory[3].split()[2:] == ["-"] * 7
    assert times[2].endswith("1.20 x [1.20, 1.20]")
    assert times[3].startswith("119 segments")
    assert times[3].endswith("see below")
    assert report.stopped_lines({"vgg16": found}) == ["vgg16, 119 segments: stopped after 300 s"]
    assert max(map(len, [*memory, *times])) <= WIDTH
