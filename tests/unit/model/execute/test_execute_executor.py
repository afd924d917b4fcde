"""The executor: any part of a graph, sharing weights, refusing what does not fit."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_graphs import GraphBuilder, classifier, whole

from slicebed_agent.errors import AgentError, PayloadError
from slicebed_agent.model.execute import encode
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.graphdef.errors import ModelFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FRAME = np.random.default_rng(1).standard_normal((1, 8, 8, 3)).astype(np.float32)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return classifier(tmp_path_factory.mktemp("model") / "classifier.pb")


@pytest.fixture(scope="module")
def executor(path: Path) -> Iterator[Executor]:
    with Executor(path) as opened:
        yield opened


@pytest.fixture(scope="module")
def expected(executor: Executor) -> np.ndarray:
    (scores,) = executor.prepare(["input:0"], ["scores:0"]).run([FRAME])
    return scores


def chain(executor: Executor, frame: np.ndarray, *boundaries: list[str]) -> np.ndarray:
    arrays = (frame,)
    for feeds, fetches in itertools.pairwise(boundaries):
        arrays = executor.prepare(feeds, fetches).run(arrays)
    return arrays[0]


@pytest.mark.parametrize(
    "cut",
    [
        [["stem:0"]],
        [["first:0"]],  # between a convolution and its batch normalisation
        [["normal/product:0"]],
        [["normal:0"], ["joined:0"]],
        [["left_out:0", "stem:0"]],  # several tensors, one of them a skip
        [["stem:0"], ["left_out:0", "right:0"], ["body:0"], ["flat:0"]],
        [["stem:0"], ["stem:0"]],  # a host that only passes on
        [["stem:0", "left_out:0"], ["left_out:0", "right:0"]],  # a tensor that crosses two boundaries
    ],
)
def test_slices_in_a_chain_are_the_whole(executor: Executor, expected: np.ndarray, cut: list[list[str]]) -> None:
    found = chain(executor, FRAME, ["input:0"], *cut, ["scores:0"])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert found.dtype == np.float32
    assert expected.sum() == pytest.approx(1)


def test_any_number_of_frames_runs_and_each_has_its_own_result(executor: Executor) -> None:
    part = executor.prepare(["input:0"], ["body:0"], batch=4)
    frames = np.random.default_rng(2).standard_normal((5, 8, 8, 3)).astype(np.float32)
    (together,) = part.run([frames])
    alone = np.concatenate([part.run([frames[k : k + 1]])[0] for k in range(5)])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-6)


def test_a_slice_says_what_it_takes_and_returns(executor: Executor) -> None:
    part = executor.prepare(["stem:0"], ["flat:0"])
    assert [(each.name, each.dtype.name, each.shape) for each in part.feeds] == [
        ("stem:0", "float32", (None, 8, 8, 16))
    ]
    assert [(each.name, each.shape) for each in part.fetches] == [("flat:0", (None, 1024))]
    assert part.weights_bytes == pytest.approx((5 * 5 * 16 * 16 + 9 * 16) * 4, rel=0.02)


@pytest.mark.parametrize(
    ("arrays", "told"),
    [
        ([], "got 0 tensors, the slice takes 1"),
        ([FRAME, FRAME], "got 2 tensors"),
        ([FRAME.astype(np.float64)], "got float64 (1, 8, 8, 3) for input:0, which is float32 (B, 8, 8, 3)"),
        ([FRAME[:, :7]], "(1, 7, 8, 3)"),
        ([FRAME[0]], "(8, 8, 3)"),
        ([FRAME[:0]], "(0, 8, 8, 3)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused_before_they_run(
    executor: Executor, arrays: list[np.ndarray], told: str
) -> None:
    part = executor.prepare(["input:0"], ["stem:0"], warm=False)
    with pytest.raises(PayloadError) as caught:
        part.run(arrays)
    assert told in str(caught.value)
    assert "same cut" in str(caught.value)


@pytest.mark.parametrize(
    ("feeds", "fetches", "told"),
    [
        (["input:0"], ["nowhere:0"], "no tensor 'nowhere:0'"),
        (["input"], ["stem:0"], "no tensor 'input'"),
        (["stem:0"], ["left_out:1"], "no tensor 'left_out:1'"),
        (["body:0"], ["stem:0"], "stem:0 also needs input"),  # backwards
        (["left_out:0"], ["joined:0"], "joined:0 also needs input"),  # the other branch is not sent
        (["input:0"], [], "fetch at least one"),
        (["input:0", "input:0"], ["stem:0"], "once"),
    ],
)
def test_a_part_that_cannot_be_is_named(executor: Executor, feeds: list[str], fetches: list[str], told: str) -> None:
    with pytest.raises(AgentError) as caught:
        executor.prepare(feeds, fetches)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_released_slice_runs_no_more_and_others_go_on(executor: Executor, expected: np.ndarray) -> None:
    one, two = (executor.prepare(["input:0"], ["scores:0"]) for _ in range(2))
    one.release()
    with pytest.raises(AgentError, match="released"):
        one.run([FRAME])
    assert two.run([FRAME])[0].tobytes() == expected.tobytes()


def test_a_result_outlives_its_slice_and_its_input(executor: Executor, expected: np.ndarray) -> None:
    part = executor.prepare(["input:0"], ["input:0", "flat:0", "scores:0"])
    given = FRAME.copy()
    same, _flat, scores = part.run([given])
    part.release()
    del given, part
    assert same.tobytes() == FRAME.tobytes()
    assert scores.tobytes() == expected.tobytes()
    with pytest.raises(ValueError, match="read-only"):
        scores[0, 0] = 1


def test_a_slice_serves_while_another_is_prepared(executor: Executor, expected: np.ndarray) -> None:
    serving = executor.prepare(["input:0"], ["scores:0"])
    wrong: list[str] = []
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            if serving.run([FRAME])[0].tobytes() != expected.tobytes():
                wrong.append("a result changed")

    threads = [threading.Thread(target=serve) for _ in range(2)]
    for thread in threads:
        thread.start()
    for cut in ("first:0", "stem:0", "joined:0", "body:0"):
        for part in (executor.prepare(["input:0"], [cut]), executor.prepare([cut], ["scores:0"])):
            part.release()
    stop.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_weights_are_in_memory_once_and_only_while_a_slice_uses_them(path: Path) -> None:
    with Executor(path) as own:
        parts = [own.prepare(["input:0"], [cut]) for cut in ("right:0", "joined:0", "scores:0")]
        held = dict(own._constants._large)
        assert {key if isinstance(key, str) else key[0] for key in held} == {"const_25:0", "const_31:0"}
        assert sum(each.array.nbytes for each in held.values()) == (5 * 5 * 16 * 16 + 1024 * 10) * 4
        held.clear()
        for part in parts:
            part.release()
        assert not dict(own._constants._large)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int8, np.uint8, np.int32, np.int64, np.bool_, "bfloat16"])
def test_tensors_of_any_dtype_pass(tmp_path: Path, dtype: object) -> None:
    if dtype == "bfloat16":
        dtype = pytest.importorskip("ml_dtypes").bfloat16
    array = np.arange(6).reshape(2, 3).astype(dtype)  # type: ignore[arg-type]
    code = {"float16": 19, "float64": 2, "int8": 6, "uint8": 4, "int32": 3, "int64": 9, "bool": 10, "bfloat16": 14}
    kind = encode.dtype_attribute(code[array.dtype.name])
    graph = GraphBuilder()
    given = graph.input(None, 3, code=code[array.dtype.name])
    graph.node("Pack", (given, given), "twice", T=kind, N=whole(2), axis=whole(1))
    with Executor(graph.write(tmp_path / "any.pb")) as own:
        (found,) = own.prepare(["input:0"], ["twice:0"]).run([array])
    assert found.dtype == array.dtype
    assert found.tobytes() == np.stack([array, array], axis=1).tobytes()


def test_text_has_no_arrays(tmp_path: Path) -> None:
    graph = GraphBuilder()
    graph.node("AsString", (graph.input(None, 3),), "text", T=encode.dtype_attribute(1))
    with Executor(graph.write(tmp_path / "text.pb")) as own, pytest.raises(AgentError, match="data type 7"):
        own.prepare(["input:0"], ["text:0"])


def test_an_open_shape_needs_an_example(tmp_path: Path) -> None:
    graph = GraphBuilder()
    graph.apply("Relu", graph.input(None, None, 3), name="out")
    with Executor(graph.write(tmp_path / "open.pb")) as own:
        with pytest.raises(AgentError, match="give an example"):
            own.prepare(["input:0"], ["out:0"])
        part = own.prepare(["input:0"], ["out:0"], example=[np.ones((1, 5, 3), np.float32)])
        assert part.run([np.full((2, 4, 3), -1, np.float32)])[0].shape == (2, 4, 3)


def test_what_tensorflow_meets_while_it_runs_is_one_line(tmp_path: Path) -> None:
    graph = GraphBuilder()
    one, two = graph.input(None, 3, name="one"), graph.input(None, 3, name="two")
    graph.apply("AddV2", one, two, name="sum")
    with Executor(graph.write(tmp_path / "sum.pb")) as own:
        part = own.prepare([one, two], ["sum:0"])
        with pytest.raises(AgentError, match="TensorFlow refuses") as caught:
            part.run([np.zeros((2, 3), np.float32), np.zeros((3, 3), np.float32)])
        assert "\n" not in str(caught.value)
        assert part.run([np.ones((2, 3), np.float32)] * 2)[0].tolist() == [[2, 2, 2]] * 2


@pytest.mark.parametrize("length", [0, 1, 100, 4000, 20_000])
def test_a_truncated_file_is_named(path: Path, tmp_path: Path, length: int) -> None:
    short = tmp_path / "short.pb"
    short.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ModelFileError, match=r"short\.pb"):
        Executor(short)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match="No such file"):
        Executor(tmp_path / "none.pb")


def test_an_assertion_of_the_model_still_holds(tmp_path: Path) -> None:
    graph = GraphBuilder()
    given = graph.input(None, 3)
    above = graph.apply("GreaterEqual", given, graph.constant(-1.0))
    all_above = graph.node("All", (above, graph.constant([0, 1], np.int32)), Tidx=encode.dtype_attribute(3))
    words = encode.message(8, encode.number(1, 7) + encode.message(2, b"") + encode.message(8, b"too small"))
    told = graph.node("Const", (), "told", dtype=encode.dtype_attribute(7), value=words)
    kinds = encode.message(1, encode.number(6, 7))
    graph.node("Assert", (all_above, told), "guard", T=kinds)
    graph.nodes.append(encode.node("out", "Relu", (given, "^guard"), {"T": encode.dtype_attribute(1)}))
    with Executor(graph.write(tmp_path / "guarded.pb")) as own:
        part = own.prepare(["input:0"], ["out:0"])
        assert part.run([np.array([[-0.5, 0, 2]], np.float32)])[0].tolist() == [[0, 0, 2]]
        with pytest.raises(AgentError, match="too small"):
            part.run([np.array([[-2, 0, 2]], np.float32)])
