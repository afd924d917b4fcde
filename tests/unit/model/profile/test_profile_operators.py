"""From kernels to operators: whose work a kernel did, and what part of the elapsed time it stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from model_graphs import graph, operator

from slicebed_agent.errors import AgentError
from slicebed_agent.model.execute import encode
from slicebed_agent.model.profile.operators import (
    bearers_of,
    busy_times,
    elapsed_shares,
    kernels_of,
    operator_times,
)
from slicebed_agent.model.profile.trace import Kernel, read_kernels


def metadata(*kernels: tuple[str, int, int]) -> bytes:
    """A RunMetadata; each kernel began 5 ns after its node."""
    told = b"".join(
        encode.message(
            2,
            encode.message(1, name.encode())
            + encode.number(13, begin - 5)
            + encode.number(14, 5)
            + encode.number(15, end - begin + 5),
        )
        for name, begin, end in kernels
    )
    return encode.message(1, encode.message(1, encode.message(1, b"CPU:0") + told))


def owners(model, *ran):
    return kernels_of(model, bearers_of(model, ran))


def test_what_tensorflow_tells_is_read_in_nanoseconds():
    told = metadata(("a", 1_795_322_619_297_519_968, 1_795_322_619_297_520_000), ("b", 7, 8))
    assert read_kernels(told) == [
        Kernel("a", 1_795_322_619_297_519_968, 1_795_322_619_297_520_000),
        Kernel("b", 7, 8),
    ]


@pytest.mark.parametrize("told", [b"", encode.message(1, b""), encode.message(1, encode.message(1, b""))])
def test_a_run_without_kernels_is_refused(told):
    with pytest.raises(AgentError, match="tells nothing of its kernels"):
        read_kernels(told)


def test_a_truncated_trace_is_refused():
    with pytest.raises(AgentError, match="malformed"):
        read_kernels(metadata(("a", 10, 20))[:-1])


def test_kernels_at_once_share_the_time_and_are_busy_in_full():
    run = [Kernel("a", 0, 4_000), Kernel("b", 1_000, 3_000), Kernel("c", 1_000, 2_000), Kernel("d", 9_000, 9_000)]
    shares = elapsed_shares(run)
    assert shares["a"] == pytest.approx((1000 + 1000 / 3 + 1000 / 2 + 1000) / 1e9)
    assert shares["b"] == pytest.approx((1000 / 3 + 1000 / 2) / 1e9)
    assert shares["c"] == pytest.approx((1000 / 3) / 1e9)
    assert busy_times(run) == {"a": 4e-6, "b": 2e-6, "c": 1e-6, "d": 0.0}


spans = st.tuples(st.sampled_from("abcd"), st.integers(0, 30), st.integers(0, 10))


@given(st.lists(spans, min_size=1, max_size=8))
def test_shares_add_up_to_the_time_in_which_anything_ran(drawn):
    run = [Kernel(name, begin, begin + lasts) for name, begin, lasts in drawn]
    running = {instant for each in run for instant in range(each.begin_ns, each.end_ns)}
    shares, busy = elapsed_shares(run), busy_times(run)
    assert sum(shares.values()) == pytest.approx(len(running) / 1e9)
    assert all(shares.get(name, 0) <= busy[name] * (1 + 1e-9) for name in busy)


def test_a_fused_kernel_did_what_leads_to_it_alone():
    model = graph(
        operator("x", kind="Placeholder"),
        operator("conv", "x", kind="Conv2D"),
        operator("factor", "conv", kind="Mul"),
        operator("offset", "factor", kind="AddV2"),
        operator("relu", "offset"),
        operator("end", "relu", kind="Softmax"),
    )
    assert owners(model, "relu", "end", "_SOURCE", "slicebed.constant/0") == {
        "x": None,
        **dict.fromkeys(("conv", "factor", "offset", "relu"), "relu"),
        "end": "end",
    }


def test_what_is_computed_once_for_two_belongs_to_the_one_that_ran():
    model = graph(
        operator("x", kind="Placeholder"),
        operator("conv", "x", kind="Conv2D"),
        operator("relu", "conv"),
        operator("again", "conv"),
        operator("left", "relu", kind="MaxPool"),
        operator("right", "again", kind="AvgPool"),
        operator("sum", "left", "right", kind="AddV2"),
    )
    found = owners(model, "relu", "left", "right", "sum")
    # The convolution feeds both, and both are one kernel.
    assert (found["conv"], found["again"]) == ("relu", "relu")


def test_what_several_kernels_take_and_nothing_ran_for_belongs_to_none():
    model = graph(
        operator("x", kind="Placeholder"),
        operator("shape", "x", kind="Shape"),
        operator("left", "x", "shape", kind="Reshape"),
        operator("right", "x", "shape", kind="Tile"),
        operator("sum", "left", "right", kind="AddV2"),
        operator("out", "sum", kind="Identity"),
    )
    found = owners(model, "left", "right", "sum")
    assert (found["x"], found["shape"], found["out"]) == (None, None, None)


def test_a_node_of_an_optimizer_stands_for_the_operator_that_it_replaced():
    model = graph(
        operator("x", kind="Placeholder"),
        operator("cell/pool", "x", kind="AvgPool"),
        operator("cell/Add", "cell/pool", "cell/pool", kind="AddV2"),
        operator("end", "cell/Add", kind="Softmax"),
    )
    new = "cell/ArithmeticOptimizer/SimplifyAggregation_Mul_Add"
    assert bearers_of(model, ["cell/pool", new, "end", "other/ArithmeticOptimizer/Fold_Add"]) == {
        "cell/pool": "cell/pool",
        new: "cell/Add",
        "end": "end",
    }
    assert owners(model, "cell/pool", new, "end")["cell/Add"] == "cell/Add"


def test_times_are_medians_over_rounds_and_what_is_no_operators_is_told_apart():
    model = graph(operator("x", kind="Placeholder"), operator("conv", "x", kind="Conv2D"), operator("relu", "conv"))
    told = [
        metadata(("_SOURCE", 100, 101), ("slicebed.constant/0", 200, 300), ("relu", 1_000, 1_000 + spent))
        for spent in (500, 700, 900)
    ]
    found = operator_times(model, told, [4e-6, 4e-6, 8e-6], [2e-6, 2e-6, 4e-6])
    rows = {row.name: (row.kernel, row.time_s.median, row.busy_s.median) for row in found.rows}
    assert rows == {"x": (None, 0.0, 0.0), "conv": ("relu", 0.0, 0.0), "relu": ("relu", 700e-9, 700e-9)}
    assert found.sum_s.median == pytest.approx(700e-9)
    assert found.sum_to_whole.median == pytest.approx(0.25)  # 0.25, 0.35, 0.225
    assert found.other_s.median == pytest.approx(101e-9)
    assert found.traced_to_whole.median == pytest.approx(2.0)
