"""A profile of a tiny model: what it says, not how long it took."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from small_graphs import classifier

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.graphdef.read import read_graph
from slicebed_agent.model.profile.command import profile_apart, summary
from slicebed_agent.model.profile.measure import Boundaries, Level, Options
from slicebed_agent.model.profile.memory import process_memory
from slicebed_agent.model.profile.record import read_profile
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed_agent.model.graph import Graph
    from slicebed_agent.model.profile.record import Profile

CORE = min(os.sched_getaffinity(0))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("model") / "classifier.pb")


@pytest.fixture(scope="module")
def graph(path: Path) -> Graph:
    return read_graph(path, inputs=["input:0"], outputs=["scores:0"])


@pytest.fixture(scope="module")
def found(path: Path) -> Profile:
    return profile_apart(ModelSource(str(path)), Options(repeats=4, cores=(CORE,), batch=2, operators=True))


def test_segments_are_one_more_than_boundaries_and_together_the_model(found: Profile, graph: Graph) -> None:
    assert [each.name for each in found.segments] == ["stem", "joined", "body", "flat", "logits", "scores"]
    assert [name for each in found.segments for name in each.operators] == [each.name for each in graph.operators]
    assert list(found.whole.operators) == [each.name for each in graph.operators]
    assert sum(each.parameters for each in found.segments) == found.whole.parameters == graph.parameters
    assert sum(each.flops for each in found.segments) == found.whole.flops == graph.flops


def test_each_segment_takes_what_the_one_before_gives(found: Profile) -> None:
    tensors = [found.segments[0].feeds, *(each.fetches for each in found.segments)]
    assert tensors == [(f"{name}:0",) for name in ("input", "stem", "joined", "body", "flat", "logits", "scores")]
    assert [each.feeds for each in found.segments] == tensors[:-1]
    sizes = [4 * 2 * count for count in (8 * 8 * 16, 8 * 8 * 16, 8 * 8 * 16, 1024, 10, 10)]  # float32, two frames
    assert [each.fetched_bytes for each in found.segments] == sizes
    assert found.whole.weights_bytes == sum(each.weights_bytes for each in found.segments) > 4 * 1024 * 10


def test_every_segment_has_a_time_for_each_round(found: Profile) -> None:
    for each in (found.whole, *found.segments):
        assert len(each.samples_s) == 4
        assert 0 < min(each.samples_s) <= each.time_s.low <= each.time_s.median <= each.time_s.high
    sums = [sum(times) for times in zip(*(each.samples_s for each in found.segments), strict=True)]
    assert min(sums) <= found.sum.time_s.median <= max(sums)
    ratios = [total / whole for total, whole in zip(sums, found.whole.samples_s, strict=True)]
    assert min(ratios) <= found.sum.to_whole.median <= max(ratios)
    assert found.sum.without_calls_to_whole.median < found.sum.to_whole.median
    assert found.sum.call_s.low > 0


def test_it_says_where_and_of_what_it_is(found: Profile, path: Path) -> None:
    assert found.host.cores == (CORE,)
    assert found.host.pool_threads == 1
    assert set(found.host.versions) == {"slicebed", "tensorflow", "numpy", "python", "kernel"}
    assert found.graph_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (found.settings.rounds, found.settings.batch, found.settings.boundaries) == (4, 2, "safe")
    assert f"classifier: whole {found.whole.time_s.scaled(1e3)} ms on cores {CORE}, 6 segments" in summary(found)


def test_operators_that_one_kernel_does_are_told_with_it(found: Profile) -> None:
    assert found.operators is not None
    rows = {row.name: row for row in found.operators.rows}
    assert list(rows) == list(found.whole.operators)
    kernels = {name: row.kernel for name, row in rows.items()}
    # oneDNN fuses a normalisation with an activation behind it on some processors only.
    left = ("left", "left_normal/product", "left_normal", "left_out")
    assert {name: kernels.pop(name) for name in left} in (
        dict.fromkeys(left[:2], left[1]) | {name: name for name in left[2:]},
        dict.fromkeys(left, "left_out"),
    )
    assert kernels == {
        "input": None,
        **dict.fromkeys(("first", "normal/product", "normal", "stem"), "stem"),
        **{name: name for name in ("right", "joined", "body", "flat", "logits", "scores")},
    }
    for row in rows.values():
        own = row.kernel == row.name
        assert (row.time_s.low > 0) == (row.busy_s.low > 0) == own
        assert row.time_s.median <= row.busy_s.median


def test_the_sum_of_operators_is_told_beside_the_whole(found: Profile) -> None:
    times = found.operators
    assert times is not None
    # Kernels one after another fill the traced run, but for what lies between them.
    assert 0 < times.sum_s.median + times.other_s.median < times.traced_s.high
    assert times.sum_to_whole.low > 0
    assert times.traced_to_whole.low > 0
    assert "operators have a kernel of their own, their sum : whole" in summary(found)


def test_memory_is_that_of_a_process_of_its_own(path: Path, graph: Graph) -> None:
    found = process_memory(path, graph, (["stem:0"], ["body:0"]), batch=2)
    names = [each.name for each in graph.operators]
    inside = graph.operators[names.index("stem") + 1 : names.index("body") + 1]
    assert found.weights_bytes == 4 * sum(map(graph.parameters_of, inside)) > 4 * 5 * 5 * 16 * 16
    assert found.anonymous_bytes < found.resident_bytes < found.peak_bytes
    assert found.resident_bytes - found.weights_bytes < 300e6


def test_the_agents_command_profiles_the_slices_of_a_cut(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    command = [sys.executable, "-m", "slicebed_agent", "profile", str(path), "--out", str(out)]
    ran = subprocess.run(
        [*command, "--cut", "stem,joined", "--repeats", "3"], capture_output=True, text=True, check=True
    )
    found = read_profile(out)
    assert ran.stdout == summary(found) + "\n"
    assert [each.name for each in found.segments] == ["stem", "joined", "scores"]
    assert [each.memory for each in found.segments] == [None] * 3
    assert found.operators is None
    assert list(tmp_path.iterdir()) == [out]

    refused = subprocess.run([*command, "--cut", "joined,stem"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith("error: cut: stem lies before joined; ")
    assert read_profile(out) == found
    assert list(tmp_path.iterdir()) == [out]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (Options(repeats=2), "--repeats: 2 repeats"),
        (Options(batch=0), "--batch: 0 frames"),
        (Options(seed=-1), "--draw: seed -1"),
        (Options(boundaries=Boundaries.CUT), "--cut: boundaries cut and cut ''"),
        (Options(cut=("stem",), level=Level.LAYER), "--cut: boundaries safe and cut 'stem'"),
    ],
)
def test_what_cannot_be_measured_is_refused_before_anything_starts(options: Options, told: str) -> None:
    with pytest.raises(AgentConfigError, match=told):
        profile_apart(ModelSource("no such model"), options)


def test_every_split_point_and_a_cut_are_not_both_meant() -> None:
    assert Boundaries.of(every=True, cut=()) is Boundaries.EVERY
    with pytest.raises(AgentConfigError, match="one of --every and --cut"):
        Boundaries.of(every=True, cut=("a",))


def test_the_agents_command_takes_the_options_that_say_which_model(path: Path, tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    command = [sys.executable, "-m", "slicebed_agent", "profile", str(path), "--out", str(out), "--repeats", "3"]
    asked = ["--input", "input", "--output", "body", "--input-shape", "8,8,3", "--operators"]
    ran = subprocess.run([*command, *asked], capture_output=True, text=True, check=True)
    found = read_profile(out)
    assert ran.stdout == summary(found) + "\n"
    assert (found.whole.name, found.whole.fetches) == ("body", ("body:0",))
    assert found.operators is not None
    assert tuple(row.name for row in found.operators.rows) == found.whole.operators

    for wrong, told in (
        (["--seed", "3"], "weights are given for a model of the zoo only"),
        (["--weights", "none.npz"], "weights are given for a model of the zoo only"),
        (["--input-shape", "big"], "no shape in 'big'"),
        (["--output", "scored"], "the graph has no output scored"),
    ):
        refused = subprocess.run([*command, *wrong], capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert told in refused.stderr.splitlines()[-1]


def test_a_segment_that_is_nearly_everything_is_told(found: Profile) -> None:
    def told(*shares: float) -> str:
        pairs = zip(found.segments, shares, strict=True)
        segments = [dataclasses.replace(each, time_s=found.whole.time_s.scaled(share)) for each, share in pairs]
        return summary(dataclasses.replace(found, segments=tuple(segments)))

    assert "of the whole:" not in told(0.5, 0.1, 0.1, 0.1, 0.1, 0.1)
    assert "\nthe segment to joined is 90% of the whole: no other cut" in told(0.02, 0.9, 0.02, 0.02, 0.02, 0.02)
