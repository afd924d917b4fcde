"""Candidates of a space, and how the testbed runs them."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

import pytest
from searches import POINTS, REPOSITORY, make_spaces

from slicebed.run.search.engine import model_names
from slicebed.run.search.space import Cell, limited_testbed, space_of
from slicebed.spec.models import ModelChoice
from slicebed.split.search.contracts import Boundary

AGENTS_NAMES = re.compile(r"[A-Za-z0-9._-]{1,128}")
KNOBS = "search: {codecs: [raw, lossless], knobs: {edge.cores: [1], edge.quota: [0.5, 1]}}"


def test_candidates_stand_along_the_model_and_say_what_crosses(tmp_path):
    _, (space,) = make_spaces(tmp_path)
    assert space.id == "net-testbed"
    assert list(space.variants) == [*(f"split:{point}" for point in POINTS), "edge:whole"]
    split = space.candidates[:-1]
    assert [each.place for each in split] == sorted({each.place for each in split})
    # Batches of two frames of four values of 4 B; the model's input is as large as what crosses its cuts.
    assert space.candidates[0].boundaries == (Boundary("client", "edge", 32, 0, 0.0),)
    assert space.candidates[-1].boundaries == (Boundary("client", "edge", 32, 0, 0.0),)
    assert (split[0].cut, split[0].hosts, space.candidates[-1].cut) == (("op1",), ("client", "edge"), ())


def test_codecs_and_knobs_make_candidates_of_their_own(tmp_path):
    _, (space,) = make_spaces(tmp_path, KNOBS)
    assert len(space.variants) == 9 * 2 * 2
    key = "split:op3/lossless/edge.cores=1/edge.quota=0.5"
    assert dict(space.variants[key].candidate.knobs) == {"edge.cores": 1, "edge.quota": 0.5}
    assert space.parts == {"network", "workload"}
    own = space.experiment_of(Cell(space.id, key, 1))
    assert own.pipeline.codec == "lossless"
    assert (own.testbed.host("edge").cores, own.testbed.host("edge").cpu_quota) == ((1,), 0.5)
    assert space.experiment.testbed.host("edge").cpu_quota is None


def test_a_run_is_named_by_all_that_differs_in_its_search(tmp_path):
    """Else the lines of progress of one cut in several codecs, or of several models, are the same."""
    _, (plain,) = make_spaces(tmp_path)
    assert plain.run_of(Cell(plain.id, "split:op3", 1)).title == "placement split, cut op3"
    _, (varied,) = make_spaces(tmp_path, KNOBS)
    key = "split:op3/lossless/edge.cores=1/edge.quota=0.5"
    title = "placement split, cut op3, lossless, edge.cores=1, edge.quota=0.5"
    assert varied.run_of(Cell(varied.id, key, 1)).title == title
    titles = {run.title for run in varied.every_run()}
    assert len(titles) == len(varied.variants)
    wanted, (one,) = make_spaces(tmp_path)
    search = replace(wanted.search, models=(ModelChoice("net.pb"), ModelChoice("other.pb")))
    several = space_of(
        one.experiment,
        search,
        one.opened,
        one.sliced,
        model="net",
        condition=one.condition,
        configuration=one.configuration,
    )
    assert several.run_of(Cell(several.id, "split:op3", 1)).title == "placement split, cut op3, net"


def test_candidates_say_how_much_each_slice_computes(tmp_path):
    """Each of the nine operators makes four values of a frame, an operation each; batches are of two frames."""
    _, (space,) = make_spaces(tmp_path)
    split = {each.cut[0]: each.flops for each in space.candidates[:-1]}
    graph = space.opened.graph
    counted = [operator.flops for operator in graph.operators if operator.name in {"op1", "op2", "op3"}]
    assert split["op3"] == (2 * sum(counted), 2 * (graph.flops - sum(counted)))
    assert {sum(each.flops) for each in space.candidates} == {2 * graph.flops}
    assert graph.flops > 0


def test_each_split_point_of_three_slices_has_its_place(tmp_path):
    _, (space,) = make_spaces(tmp_path, three_slices=True)
    names = [operator.name for operator in space.opened.graph.operators]
    candidate = space.candidates[0]
    assert candidate.places == (names.index("op2") + 1, names.index("op5") + 1)
    operators = space.opened.graph.operators
    ends = pairwise((0, *candidate.places, len(operators)))
    assert candidate.flops == tuple(2 * sum(each.flops for each in operators[begin:end]) for begin, end in ends)
    assert [each.ratio for each in candidate.boundaries] == [1, 1]


@pytest.mark.parametrize(
    ("codec", "sent"), [("raw", 32), ("fp16", 16), ("uint8", 8), ("lossless", 32), ("auto", 32), ("tensorproto", 32)]
)
def test_what_crosses_is_known_of_codecs_with_a_fixed_ratio(tmp_path, codec, sent):
    _, (space,) = make_spaces(tmp_path, f"search: {{codecs: [{codec}]}}")
    (boundary,) = space.candidates[0].boundaries
    assert (boundary.bytes_per_frame, boundary.sent_bytes) == (32, sent)


def test_agents_start_under_the_first_limits_that_any_setting_has(tmp_path):
    _, spaces = make_spaces(tmp_path, KNOBS)
    limited = limited_testbed(spaces)
    assert [host.name for host in limited.hosts] == list(spaces[0].experiment.testbed.host_names)
    assert (limited.host("edge").cores, limited.host("edge").cpu_quota) == ((1,), 0.5)
    lab = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
    bare = tmp_path / "bare.yml"
    bare.write_text(re.sub(r", cores: .*", "}", lab.read_text()))
    _, spaces = make_spaces(tmp_path, f"search: {{testbeds: {{own: {lab}}}}}")
    assert limited_testbed(spaces).host("cloud").cores == (0, 1)
    _, spaces = make_spaces(tmp_path, f"search: {{testbeds: {{bare: {bare}}}}}")
    assert limited_testbed(spaces) is None


def test_repeats_differ_in_their_pictures_and_candidates_do_not(tmp_path):
    _, (space,) = make_spaces(tmp_path)

    def seed(key, repeat):
        return space.experiment_of(Cell(space.id, key, repeat)).source.seed

    assert seed("split:op1", 1) == seed("split:op8", 1) == space.experiment.source.seed
    assert seed("split:op1", 2) == seed("split:op8", 2) != seed("split:op1", 1)


def test_a_condition_is_a_testbed_in_a_configuration(tmp_path):
    lab = REPOSITORY / "inventory" / "testbeds" / "lab.yml"
    hosts = "client: {overhead_ratio: 0, latency: 1 ms, max_throughput: 1 MiB}, edge: {overhead_ratio: 0, latency: 4 ms"
    configurations = f"configurations: [{{name: near, hosts: {{{hosts}, max_throughput: 1 MiB}}}}}}]"
    _, spaces = make_spaces(tmp_path, f"{configurations}\nsearch: {{testbeds: {{low: {lab}, high: {lab}}}}}")
    assert [space.id for space in spaces] == ["net-low", "net-high"]
    assert [space.configuration.name for space in spaces] == ["low", "high"]
    assert spaces[0].candidates[0].boundaries[0].rtt_s == pytest.approx(0.010)


def test_a_cell_s_folder_has_a_name_that_agents_take(tmp_path):
    long = "block_with_a_very_long_name_of_its_own" * 3
    cells = [
        Cell("net-testbed", "split:op1", 1),
        Cell("net-testbed", "split:op1", 1, 8),
        Cell("net-testbed", "split:op1", 2),
        Cell("net-testbed", "split-op1", 1),
        Cell("net-testbed", f"{long}/a=1", 1),
        Cell("net-testbed", f"{long}/a=2", 1),
    ]
    names = [cell.run_id for cell in cells]
    assert len(set(names)) == len(names)
    assert all(AGENTS_NAMES.fullmatch(name) for name in names)
    assert cells[0].id == "net-testbed/split:op1/r1"
    assert cells[1].id == "net-testbed/split:op1/r1f8"
    assert Cell("m-low", "block_5_add,block_12_add", 1).run_id == "m-low_block_5_add-block_12_add_r1"


def test_models_are_called_as_their_files_and_told_apart():
    choices = [ModelChoice("cnn14"), ModelChoice("models/net.pb"), ModelChoice("cnn14", seed=2)]
    assert list(model_names(choices)) == ["cnn14", "net", "cnn14-2"]
