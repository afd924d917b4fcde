"""Large constants stay in the file where it holds them as memory does; all else travels within the graph."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from small_graphs import GraphBuilder

from slicebed_agent.model.execute import encode
from slicebed_agent.model.execute.frozen import FrozenGraph

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 3000
NUMBERS = np.arange(COUNT)


def value(code: int, field: int, content: bytes, count: int = COUNT) -> bytes:
    """An AttrValue that holds a TensorProto whose values are in a field of their own type."""
    dims = encode.message(2, encode.message(2, encode.number(1, count)))
    return encode.message(8, encode.number(1, code) + dims + encode.message(field, content))


def numbers(array: np.ndarray) -> bytes:
    return b"".join(encode.varint(int(each)) for each in array)


CLASS = encode.message(1, encode.message(2, b"loc:@elsewhere" + bytes(2000)))


@pytest.mark.parametrize(
    ("attribute", "dtype"),
    [
        (value(1, 4, NUMBERS.astype("<f4").tobytes()), np.float32),
        (value(1, 5, NUMBERS.astype("<f4").tobytes()), np.float32),
        (value(2, 6, NUMBERS.astype("<f8").tobytes()), np.float64),
        (value(9, 4, NUMBERS.astype("<i8").tobytes()), np.int64),
    ],
    ids=["content", "floats", "doubles", "int64"],
)
def test_what_lies_in_the_file_as_in_memory_is_left_there(tmp_path: Path, attribute: bytes, dtype: type) -> None:
    graph = GraphBuilder()
    graph.node("Const", (), "numbers", dtype=encode.number(6, 1), value=attribute, _class=CLASS)
    graph.write(tmp_path / "model.pb")
    frozen = FrozenGraph(tmp_path / "model.pb")
    node = frozen.nodes["numbers"]
    assert node.weight is not None
    assert list(node.attributes) == ["dtype"]
    assert np.array_equal(frozen.read(node.weight), NUMBERS.astype(dtype))
    assert b"".join(frozen.chunks(node.weight, 1000)) == NUMBERS.astype(dtype).tobytes()
    frozen.close()


@pytest.mark.parametrize(
    "attribute",
    [
        value(3, 7, numbers(NUMBERS)),
        value(1, 5, NUMBERS[:2000].astype("<f4").tobytes()),
        value(7, 8, b"text" * 2000, 1),
        value(1, 4, NUMBERS[:900].astype("<f4").tobytes(), 900),
        value(1, 4, NUMBERS[:9].astype("<f4").tobytes(), 9),
    ],
    ids=["written one by one", "the last repeats", "text", "3.6 kB", "36 bytes"],
)
def test_what_does_not_or_is_small_travels_as_it_is(tmp_path: Path, attribute: bytes) -> None:
    graph = GraphBuilder()
    graph.node("Const", (), "numbers", dtype=encode.number(6, 3), value=attribute)
    graph.write(tmp_path / "model.pb")
    frozen = FrozenGraph(tmp_path / "model.pb")
    node = frozen.nodes["numbers"]
    assert node.weight is None
    assert node.attributes == {"dtype": encode.number(6, 3), "value": attribute}
    frozen.close()


def test_versions_and_functions_go_with_the_nodes(tmp_path: Path) -> None:
    library = encode.message(2, encode.message(1, encode.message(1, encode.message(1, b"inner"))))
    versions = encode.message(4, encode.number(1, 1882))
    node = encode.placeholder("input", 1, (None, 3))
    (tmp_path / "model.pb").write_bytes(library + node + versions)
    frozen = FrozenGraph(tmp_path / "model.pb")
    assert frozen.carried == library + versions
    frozen.close()
