"""A file is read whole or refused by name: what, where, how to mend."""

from __future__ import annotations

import struct
from pathlib import Path

import graphdef_writer as write
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slicebed_agent.errors import AgentError
from slicebed_agent.model.graphdef.errors import ModelFileError
from slicebed_agent.model.graphdef.read import read_graph
from slicebed_agent.model.graphdef.wire import read_nodes

DATA = Path(__file__).parent / "data"
same_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@pytest.fixture
def read(tmp_path):
    def from_bytes(content):
        path = tmp_path / "model.pb"
        path.write_bytes(content)
        return read_nodes(path)

    return from_bytes


def test_nodes_come_with_inputs_and_attributes_in_the_files_order(read):
    file = read(
        write.placeholder("x", (None, 8, 8, 3))
        + write.weights("w", (3, 3, 3, 16))
        + write.conv("c", "x", "w", strides=(2, 2), _output_shapes=write.shapes((None, 4, 4, 16)))
    )
    assert [(node.name, node.op, node.inputs) for node in file.nodes.values()] == [
        ("x", "Placeholder", ()),
        ("w", "Const", ()),
        ("c", "Conv2D", (("x", 0), ("w", 0))),
    ]
    conv = file.nodes["c"]
    assert conv.number("T") == write.FLOAT
    assert conv.numbers("strides") == (1, 2, 2, 1)
    assert conv.words("padding", "VALID") == "SAME"
    assert conv.words("data_format_of_nobody", "NHWC") == "NHWC"
    assert conv.shapes("_output_shapes") == ((None, 4, 4, 16),)
    assert file.nodes["x"].shapes("shape") == ((None, 8, 8, 3),)
    assert file.nodes["w"].tensor("value").dims == (3, 3, 3, 16)


def test_a_large_weight_is_known_by_its_shape_and_its_neighbours_are_read(read):
    file = read(write.weights("w", (512, 512), with_content=True) + write.placeholder("x", (1,)))
    value = file.nodes["w"].tensor("value")
    assert (value.dims, value.elements, value.content) == ((512, 512), 512 * 512, None)
    assert list(file.nodes) == ["w", "x"]


def attribute(key, value):
    return write.block(5, write.block(1, key) + write.block(2, value))


def test_fields_of_a_node_come_in_any_order_and_unknown_ones_are_passed_over(read):
    same = attribute("T", write.dtype(write.FLOAT)) + attribute("N", write.integer(2))
    debug = write.block(6, write.block(1, "where it came from"))
    late = write.block(3, "x") + write.block(3, "^x") + write.block(1, "late") + write.block(2, "Relu")
    file = read(
        write.placeholder("x", (1,))
        + write.block(1, write.block(1, "plain") + write.block(2, "Relu") + write.block(3, "x:2") + same)
        + write.block(1, same + debug + attribute("U", write.dtype(3)) + late)
        + write.block(1, write.block(1, "told") + write.block(2, "Relu") + same + debug)
        + write.block(1, write.block(1, "again") + write.block(2, "Relu") + same)
    )
    late = file.nodes["late"]
    assert (late.inputs, late.controls) == ((("x", 0),), ("x",))
    assert [late.number(key) for key in ("T", "N", "U")] == [write.FLOAT, 2, 3]
    assert file.nodes["plain"].inputs == (("x", 2),)
    for name in ("plain", "told", "again"):
        assert dict.fromkeys(file.nodes[name].attributes) == {"T": None, "N": None}
    assert file.nodes["again"].attributes is file.nodes["plain"].attributes


@pytest.mark.parametrize("dims", [(4, 4), (64, 64)], ids=["read", "left in the file"])
def test_nodes_whose_attributes_differ_a_little_are_not_mistaken_for_each_other(read, dims):
    turned = dims[0] // 2, dims[1] * 2
    file = read(
        write.weights("one", dims, with_content=True)
        + write.weights("two", turned, with_content=True)
        + write.weights("three", dims, with_content=True)
        + write.node("four", "Const", dtype=write.dtype(3), value=write.tensor(3, dims, bytes(4 * dims[0] * dims[1])))
    )
    found = [
        (node.number("dtype"), node.tensor("value").dtype, node.tensor("value").dims) for node in file.nodes.values()
    ]
    assert found == [(1, 1, dims), (1, 1, turned), (1, 1, dims), (3, 3, dims)]


def test_what_was_left_in_the_file_can_be_found_there(tmp_path):
    value = write.tensor(write.FLOAT, (3, 512), bytes(range(256)) * 24)
    content = (
        write.placeholder("x", (1,)) + write.node("w", "Const", dtype=write.dtype(1), value=value) + write.ints("i", 3)
    )
    path = tmp_path / "model.pb"
    path.write_bytes(content)
    nodes = read_nodes(path).nodes
    assert {name: [*node.large] for name, node in nodes.items()} == {"x": [], "w": ["value"], "i": []}
    start, end = nodes["w"].large["value"]
    assert content[start:end] == value


@pytest.mark.parametrize(
    ("attribute", "content"),
    [
        (write.int32_tensor((1, -2, 3)), (1, -2, 3)),
        (write.int32_tensor(7), (7,)),
        (write.block(8, write.number(1, 3) + write.block(2, b"") + write.number(7, -1)), (-1,)),
        (
            write.block(8, write.number(1, 9) + write.block(2, write.shape((3,))) + write.block(10, b"\x05\x06")),
            (5, 6, 6),
        ),
        (write.block(8, write.number(1, 3) + write.block(2, write.shape((2,)))), (0, 0)),
        (write.block(8, write.number(1, 1) + write.block(2, b"") + b"\x2d" + struct.pack("<f", 0.5)), (0.5,)),
        (write.block(8, write.number(1, 1) + write.block(2, write.shape((2,))) + write.block(5, bytes(8))), (0.0, 0.0)),
        (write.block(8, write.number(1, 7) + write.block(2, b"") + write.block(8, "text")), None),
    ],
    ids=["raw", "scalar", "listed", "last repeats", "zeros left out", "one float", "packed floats", "string"],
)
def test_small_constants_are_read_as_tensorflow_reads_them(read, attribute, content):
    file = read(write.node("c", "Const", dtype=write.dtype(3), value=attribute))
    assert file.nodes["c"].tensor("value").content == content


def test_functions_of_the_library_are_known_by_name(read):
    assert read(write.placeholder("x", (1,)) + write.library("inner")).functions == {"inner"}


GOOD = write.placeholder("x", (1,))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "empty"),
        (b"\x89HDF\r\n\x1a\n" + bytes(50), "HDF5"),
        (b"PK\x03\x04" + bytes(50), "zip archive"),
        (b"\x08\x01\x12\x04abcd", "SavedModel"),
        (b'node {\n  name: "x"\n}\n', "text form"),
        (b"\x1f\x8b" + bytes(50), "compressed"),
        (b"Not a model at all.", "no whole GraphDef"),
        (GOOD[:-1], f"of {len(GOOD) - 1}: no whole GraphDef: field 1 runs 1 bytes over"),
        (GOOD + GOOD, "a second node is named 'x'"),
        (write.number(3, 27), "holds no node"),
        (write.node("", "Relu"), "no name or no operator"),
        (write.node(b"\xff\xfe", "Relu"), "not UTF-8"),
        (GOOD + b"\x0a" + b"\xff" * 12, f"at byte {len(GOOD) + 1} of"),
        (write.block(1, b"\x0a\x7fx"), "over its end"),
        (GOOD + b"\x00\x00", "number 0"),
    ],
)
def test_a_file_that_is_none_says_what_where_and_how_to_mend(read, content, says):
    with pytest.raises(ModelFileError) as refusal:
        read(content)
    assert says in str(refusal.value)
    assert "model.pb" in refusal.value.where
    assert refusal.value.mend
    assert "\n" not in str(refusal.value)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "nothing.pb", tmp_path):
        with pytest.raises(ModelFileError, match="cannot read it"):
            read_nodes(path)


def test_more_than_protobuf_holds_is_refused_unread(tmp_path):
    path = tmp_path / "huge.pb"
    with path.open("wb") as file:
        file.truncate(1 << 31)  # sparse: takes no room
    with pytest.raises(ModelFileError, match=r"SavedModel folder or \.keras"):
        read_nodes(path)
    path.unlink()


@pytest.mark.parametrize(
    "attribute",
    [
        write.block(8, write.number(1, 3) + write.block(2, write.shape((3,))) + write.block(4, b"abc")),
        write.block(8, write.number(1, 3) + write.block(2, write.shape((1,))) + write.block(7, b"\x01\x02")),
        write.block(8, write.number(1, 3) + write.block(2, write.shape((-7,)))),
        write.block(8, write.number(1, 3) + write.block(2, write.shape(None))),
        write.block(8, b"\x0a\xff"),
    ],
    ids=["content too short", "too many values", "negative size", "open shape", "runs over"],
)
def test_a_malformed_constant_is_refused_when_the_graph_is_read(tmp_path, attribute):
    path = tmp_path / "model.pb"
    path.write_bytes(
        write.placeholder("x", (None, 4))
        + write.node("c", "Const", dtype=write.dtype(3), value=attribute)
        + write.float_op("y", "Reshape", ("x", "c"))
    )
    with pytest.raises(ModelFileError, match="malformed"):
        read_graph(path)


def refused(path):
    """The refusal of a file; None where it is a model."""
    try:
        read_graph(path)
    except AgentError as error:
        return error
    return None


@same_folder
@given(content=st.one_of(st.binary(max_size=200), st.binary(max_size=200).map(lambda inner: write.block(1, inner))))
def test_any_bytes_are_read_or_refused_by_name(tmp_path, content):
    path = tmp_path / "any.pb"
    path.write_bytes(content)
    refusal = refused(path)
    assert refusal is None or str(path) in str(refusal)


@pytest.mark.parametrize("name", ["vgg_16.pb", "inception_v3.pb"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=12)
@given(data=st.data())
def test_a_truncated_model_is_refused_or_is_a_model_that_ends_earlier(tmp_path, name, data):
    whole = (DATA / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    try:
        nodes = read_nodes(path).nodes
    except ModelFileError:
        return
    # Cut exactly between two fields of the file: whole nodes, fewer of them (or only the version is gone).
    assert set(nodes) <= set(read_nodes(DATA / name).nodes)


@pytest.mark.parametrize("name", ["vgg_16.pb", "inception_v3.pb"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=12)
@given(data=st.data())
def test_a_damaged_model_is_read_or_refused_by_name(tmp_path, name, data):
    damaged = bytearray((DATA / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path / name
    path.write_bytes(damaged)
    refusal = refused(path)
    assert refusal is None or str(path) in str(refusal)
