"""Which side of a cut a kernel's time belongs to, and how a limit of processor time is seen through."""

from __future__ import annotations

import numpy as np
import pytest

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.execute import encode
from slicebed_agent.model.execute.nodes import Node
from slicebed_agent.model.profile.shares import (
    By,
    KernelTimes,
    Sides,
    is_taken_apart,
    kernel_times,
    least_s,
    operators_of,
    shares,
)

NODES = (
    Node("relu", "Relu", ("bias:0",)),
    Node("conv", "Conv2D", ("image:0", "filter:0")),
    Node("bias", "BiasAdd", ("conv:0", "offset:0")),
    Node("pool", "MaxPool", ("relu:0",)),
)
KINDS = {node.name: node.op for node in NODES}


def times(rounds, **members):
    """Kernels with their members; `rounds` are seconds by kernel."""
    return KernelTimes(
        tuple(members), tuple(frozenset(each.split()) for each in members.values()), np.array(rounds).T.astype(float)
    )


def sides(before, after):
    return Sides(frozenset(before.split()), frozenset(after.split()))


WHOLE = times([[6, 2]] * 3, relu="conv bias relu", pool="pool")
APART = times([[5, 2, 1, 2]] * 3, conv="conv", bias="bias", relu="relu", pool="pool")


def share_of(cut, whole=WHOLE, apart=APART, by=By.MEDIAN):
    (found,) = shares(whole, apart, KINDS, [cut], by=by)
    return found.before.median, found.after.median


def test_nodes_are_put_in_order_and_what_is_fed_and_constant_is_told_apart():
    graph = operators_of(NODES, ("image:0",), ("pool:0",))
    assert [each.name for each in graph.operators] == ["conv", "bias", "relu", "pool"]
    assert (graph.operators[0].inputs, graph.operators[0].constants) == (("image:0",), ("filter:0",))
    with pytest.raises(AgentConfigError, match="loop"):
        operators_of((Node("a", "Add", ("b:0",)), Node("b", "Add", ("a:0",))), ("image:0",), ("a:0",))


def test_a_kernel_does_the_work_of_what_it_was_fused_with():
    graph = operators_of(NODES, ("image:0",), ("pool:0",))
    told = [kernels(("relu", 0, 6000), ("pool", 6000, 8000), ("_arg", 0, 0))] * 2
    found = kernel_times(graph, told)
    assert dict(zip(found.names, found.members, strict=True)) == {
        "relu": frozenset({"conv", "bias", "relu"}),
        "pool": frozenset({"pool"}),
    }
    assert found.seconds[found.names.index("relu")] == pytest.approx([6e-6, 6e-6])
    assert least_s(found) == pytest.approx(8e-6)


def kernels(*spans):
    told = b"".join(
        encode.message(
            2, encode.message(1, name.encode()) + encode.number(13, begin + 1) + encode.number(15, end - begin)
        )
        for name, begin, end in spans
    )
    return encode.message(1, encode.message(1, encode.message(1, b"CPU:0") + told))


def test_between_kernels_the_sides_are_the_whole():
    assert share_of(sides("conv bias relu", "pool")) == (0.75, 0.25)
    assert not is_taken_apart(WHOLE, [sides("conv bias relu", "pool")])


@pytest.mark.parametrize(
    ("cut", "behind"),
    [(("conv", "bias relu pool"), (2 + 2 + 1) / 8), (("conv bias", "relu pool"), (2 + 1) / 8)],
    ids=["behind the convolution", "before the activation"],
)
def test_a_divided_kernel_stays_with_its_convolution_and_the_rest_pays_for_itself(cut, behind):
    assert is_taken_apart(WHOLE, [sides(*cut)])
    assert share_of(sides(*cut)) == pytest.approx((0.75, behind))


def test_a_divided_kernel_without_anything_costly_is_paid_for_by_both():
    whole = times([[2, 6]] * 3, relu="bias relu", pool="pool")
    apart = times([[1.5, 1, 6]] * 3, bias="bias", relu="relu", pool="pool")
    assert share_of(sides("bias", "relu pool"), whole, apart) == pytest.approx((1.5 / 8, 7 / 8))


def test_what_both_slices_compute_counts_in_both():
    assert share_of(sides("conv bias relu pool", "pool")) == (1.0, 0.25)


def test_the_ends_of_the_model_are_all_and_nothing():
    assert share_of(sides("", "conv bias relu pool")) == (0.0, 1.0)
    assert share_of(sides("conv bias relu pool", ""), apart=None) == (1.0, 0.0)


def test_a_stop_in_one_round_moves_no_median():
    disturbed = times([[6, 2], [6, 99], [6, 2], [80, 2], [6, 2]], relu="conv bias relu", pool="pool")
    assert share_of(sides("conv bias relu", "pool"), disturbed, None) == (0.75, 0.25)
    (found,) = shares(disturbed, None, KINDS, [sides("conv bias relu", "pool")], by=By.MEDIAN)
    assert found.before.low < 0.75 < found.before.high


def limited(kernels_s, burst_s, pause_s, rounds, phase_s):
    """Kernels one after the other, all of which stand still for the pause after each burst."""
    seconds, run = np.zeros((len(kernels_s), rounds)), phase_s
    for number in range(rounds):
        for place, length in enumerate(kernels_s):
            stops = int((run + length) / burst_s) - int(run / burst_s)
            seconds[place, number] = length + stops * pause_s
            run += length
    return KernelTimes(
        tuple(map(str, range(len(kernels_s)))), tuple(frozenset({str(n)}) for n in range(len(kernels_s))), seconds
    )


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    ("burst_s", "pause_s", "by", "wrong"),
    [(0.030, 0.070, By.SHORTEST, By.MEAN), (0.0013, 0.0087, By.MEAN, By.MEDIAN)],
    ids=["a few stops", "many stops"],
)
def test_shares_are_seen_through_a_limit_however_often_it_stops_a_run(seed, burst_s, pause_s, by, wrong):
    """Short kernels before the cut, long ones behind it, 4 rounds: as few as there may be."""
    random = np.random.default_rng(seed)
    lengths = [*random.uniform(0.0001, 0.0005, 60), *random.uniform(0.001, 0.005, 15)]
    names = [str(number) for number in range(len(lengths))]
    cut = sides(" ".join(names[:60]), " ".join(names[60:]))
    seen = limited(lengths, burst_s, pause_s, 4, random.uniform(0, burst_s))
    true = sum(lengths[:60]) / sum(lengths)
    errors = {}
    for each in (by, wrong):
        (found,) = shares(seen, None, dict.fromkeys(names, "Relu"), [cut], by=each)
        errors[each] = abs(found.before.median - true)
    assert errors[by] < 0.03
    assert errors[by] < errors[wrong] + 0.01
