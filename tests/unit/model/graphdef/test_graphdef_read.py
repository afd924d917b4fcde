"""What becomes an operator, what a constant, in which order; and what is refused, by name."""

from __future__ import annotations

from pathlib import Path

import graphdef_writer as write
import pytest

from slicebed_agent.model.graphdef.errors import ModelFileError, UnsupportedModelError
from slicebed_agent.model.graphdef.read import read_graph

DATA = Path(__file__).parent / "data"
X = write.placeholder("x", (None, 8, 8, 3))


@pytest.fixture
def read(tmp_path):
    def from_nodes(*nodes, **named):
        path = tmp_path / "net.pb"
        path.write_bytes(b"".join(nodes))
        return read_graph(path, **named)

    return from_nodes


def names(graph):
    return [operator.name for operator in graph.operators]


def test_a_convolution_has_its_weights_sizes_and_work(read):
    graph = read(X, write.weights("w", (3, 3, 3, 16)), write.conv("c", "x", "w", strides=(2, 2)))
    assert (graph.name, graph.inputs, graph.outputs) == ("net", ("x:0",), ("c:0",))
    placeholder, conv = graph.operators
    assert (placeholder.kind, placeholder.outputs[0].shape) == ("Placeholder", (None, 8, 8, 3))
    (made,) = conv.outputs
    assert (made.name, made.dtype, made.shape) == ("c:0", "float32", (None, 4, 4, 16))
    assert (made.elements, made.bytes_per_frame) == (256, 1024)
    assert (conv.kind, conv.inputs, conv.constants) == ("Conv2D", ("x:0",), ("w",))
    assert conv.flops == 2 * 256 * 27
    assert (graph.parameters, graph.constants["w"].bytes) == (432, 1728)


def test_operators_that_are_written_alike_have_their_own_sizes_and_work(read):
    graph = read(
        X,
        *(write.weights(f"w{step}", (3, 3, 3, 3)) for step in range(3)),
        write.weights("wide", (3, 3, 3, 16)),
        write.conv("small", "x", "w0", strides=(2, 2)),
        write.conv("smaller", "small", "w1", strides=(2, 2)),
        write.conv("small_again", "x", "w2", strides=(2, 2)),
        write.conv("smaller_again", "small_again", "wide", strides=(2, 2)),
        outputs=["smaller", "smaller_again"],
    )
    found = {each.name: (each.constants, each.outputs[0].shape, each.flops) for each in graph.operators}
    assert found == {
        "x": ((), (None, 8, 8, 3), 0),
        "small": (("w0",), (None, 4, 4, 3), 2 * 48 * 27),
        "smaller": (("w1",), (None, 2, 2, 3), 2 * 12 * 27),
        "small_again": (("w2",), (None, 4, 4, 3), 2 * 48 * 27),
        "smaller_again": (("wide",), (None, 2, 2, 16), 2 * 64 * 27),
    }


def test_arithmetic_on_weights_becomes_constants_of_who_uses_it(read):
    scope = "bn"
    graph = read(
        X,
        *(write.weights(f"{scope}/{name}", (3,)) for name in ("gamma", "variance")),
        write.weights("epsilon", ()),
        write.float_op("bn/add", "AddV2", ("bn/variance", "epsilon")),
        write.float_op("bn/rsqrt", "Rsqrt", ("bn/add",)),
        write.float_op("bn/scale", "Mul", ("bn/rsqrt", "bn/gamma")),
        write.float_op("bn/out", "Mul", ("x", "bn/scale")),
    )
    assert names(graph) == ["x", "bn/out"]
    assert graph.operators[1].constants == ("bn/variance", "epsilon", "bn/gamma")
    assert graph.operators[1].outputs[0].shape == (None, 8, 8, 3)
    assert graph.parameters == 6
    assert not graph.constants["epsilon"].is_parameter


def test_weights_of_tensorflow_1_are_read_through_their_identity(read):
    graph = read(
        X,
        write.weights("w", (1, 1, 3, 5)),
        write.float_op("w/read", "Identity", ("w",)),
        write.conv("c", "x", "w/read"),
    )
    assert graph.operators[1].constants == ("w",)
    assert graph.operators[1].outputs[0].shape == (None, 8, 8, 5)


def test_branches_stay_together_whatever_the_files_order(read):
    steps = [
        write.float_op(f"{branch}{step}", "Relu", (f"{branch}{step - 1}" if step else "x",))
        for step in range(3)
        for branch in "ab"
    ]
    graph = read(write.float_op("sum", "AddV2", ("a2", "b2")), *steps, X)
    assert names(graph) == ["x", "a0", "a1", "a2", "b0", "b1", "b2", "sum"]


def test_what_does_not_reach_the_output_is_left_out(read):
    nodes = (
        X,
        write.float_op("a", "Relu", ("x",)),
        write.float_op("b", "Tanh", ("a",)),
        write.float_op("log", "Abs", ("a",)),
    )
    assert names(read(*nodes, outputs=["b"])) == ["x", "a", "b"]
    assert names(read(*nodes, outputs=["a:0"])) == ["x", "a"]


def test_a_named_input_need_not_be_a_placeholder(read):
    nodes = (
        write.node("jpeg", "Placeholder", dtype=write.dtype(7), shape=write.shape_attribute(())),
        write.node(
            "decode", "DecodeJpeg", ("jpeg",), _output_shapes=write.shapes((None, 8, 8, 3)), dtype=write.dtype(1)
        ),
        write.float_op("a", "Relu", ("decode",)),
    )
    graph = read(*nodes, inputs=["decode"])
    assert [operator.kind for operator in graph.operators] == ["Placeholder", "Relu"]
    assert graph.operators[0].inputs == ()


def test_a_shape_computed_from_the_input_leaves_the_batch_open(read):
    """Keras' Flatten: Reshape to Pack(Shape(x)[0], -1)."""
    graph = read(
        X,
        write.node("shape", "Shape", ("x",), T=write.dtype(1), out_type=write.dtype(3)),
        *(write.ints(name, values) for name, values in (("zero", (0,)), ("one", (1,)), ("rest", -1))),
        write.node(
            "batch",
            "StridedSlice",
            ("shape", "zero", "one", "one"),
            T=write.dtype(3),
            shrink_axis_mask=write.integer(1),
        ),
        write.node("to", "Pack", ("batch", "rest"), T=write.dtype(3), N=write.integer(2)),
        write.float_op("flat", "Reshape", ("x", "to")),
    )
    flat = graph.operators[-1].outputs[0]
    assert (flat.shape, flat.elements) == ((None, 192), 192)
    shape = next(operator for operator in graph.operators if operator.name == "shape")
    assert (shape.outputs[0].dtype, shape.outputs[0].bytes_per_frame) == ("int32", 16)


def test_where_a_shape_was_emptied_the_number_of_values_is_still_the_inputs(read):
    graph = read(
        X,
        write.node("to", "Const", dtype=write.dtype(3), value=write.tensor(write.INT32, (2,))),
        write.float_op("flat", "Reshape", ("x", "to")),
    )
    assert graph.operators[-1].outputs[0].elements == 192


def test_a_constant_shape_that_fixes_the_batch_is_told_as_it_is(read):
    graph = read(X, write.ints("to", (1, 192)), write.float_op("flat", "Reshape", ("x", "to")))
    assert graph.operators[-1].outputs[0].shape == (1, 192)


def test_shapes_in_the_file_win_and_make_unknown_operators_readable(read):
    graph = read(X, write.float_op("own", "MyOwnOp", ("x",), _output_shapes=write.shapes((None, 5), (2, 2))))
    assert [tensor.shape for tensor in graph.operators[1].outputs] == [(None, 5), (2, 2)]
    assert graph.operators[1].outputs[0].elements == 5


def test_control_edges_reach_through_what_no_input_changes(read):
    graph = read(
        X,
        write.float_op("check", "Abs", ("x",)),
        write.node("after", "NoOp", ("^check",)),
        write.node("w", "Const", ("^check",), dtype=write.dtype(1), value=write.tensor(write.FLOAT, (3,))),
        write.float_op("a", "Relu", ("x", "^after")),
        write.float_op("b", "Mul", ("a", "w")),
    )
    controls = {operator.name: operator.control_inputs for operator in graph.operators}
    assert controls == {"x": (), "check": (), "a": ("check",), "b": ("check",)}


def test_layers_are_given_by_operator_or_scope_and_else_are_the_name_scopes(read):
    graph = read(
        X,
        write.float_op("block/conv/act", "Relu", ("x",)),
        write.float_op("block/conv/norm/mul", "Relu", ("block/conv/act",)),
        write.float_op("head/act", "Relu", ("block/conv/norm/mul",)),
        layers={"block/conv": "conv_1", "block/conv/act": "act_1"},
    )
    assert [operator.layer for operator in graph.operators] == ["x", "act_1", "conv_1", "head"]


def test_the_input_shape_completes_what_the_file_leaves_open(read):
    open_input = write.placeholder("x", (None, None, None, 3))
    tail = (write.weights("w", (3, 3, 3, 4)), write.conv("c", "x", "w"))
    with pytest.raises(UnsupportedModelError, match=r"\(\?, \?, \?, 3\) leaves sizes unknown; give the input's shape"):
        read(open_input, *tail)
    assert read(open_input, *tail, input_shape=(None, 6, 7, 3)).operators[1].outputs[0].shape == (None, 6, 7, 4)
    for unknown in (None, ()):
        graph = read(write.placeholder("x", unknown), *tail, input_shape=(1, 6, 7, 3))
        assert graph.operators[1].outputs[0].shape == (1, 6, 7, 4)
    with pytest.raises(UnsupportedModelError, match="the file says"):
        read(X, *tail, input_shape=(None, 9, 8, 3))


def relu(name, *inputs, op="Relu", **more):
    return write.float_op(name, op, inputs, **more)


REFUSED = {
    "several inputs": (
        (X, write.placeholder("y", (None, 8, 8, 3)), relu("a", "x", "y", op="AddV2")),
        "several inputs: x:0, y:0",
    ),
    "several outputs": ((X, relu("a", "x"), relu("b", "x")), "several outputs: a:0, b:0; name the outputs"),
    "parts as outputs": (
        (X, write.ints("axis", 3), relu("a", "axis", "x", op="Split", num_split=write.integer(3))),
        "several outputs: a:0, a:1",
    ),
    "no placeholder": ((write.weights("w", (3,)), relu("a", "w")), "no output that depends on a placeholder"),
    "control flow": ((X, relu("a", "x", "x", op="Switch"), relu("b", "a")), r"a \(Switch\) is control flow"),
    "a loop": (
        (X, relu("m", "x", "n", op="Merge"), relu("n", "m", op="NextIteration"), relu("e", "m", op="Exit")),
        "is control flow",
    ),
    "itself": ((X, relu("a", "x", "b", op="AddV2"), relu("b", "a"), relu("c", "b")), "b depends on itself"),
    "a call": ((X, relu("a", "x", op="StatefulPartitionedCall")), "calls a function, which hides operators"),
    "a call by name": ((X, relu("a", "x", op="inner"), write.library("inner")), "calls a function"),
    "a call by attribute": (
        (X, relu("a", "x", op="MapDefun", f=write.block(10, write.block(1, "inner")))),
        "calls a function",
    ),
    "a variable": (
        (X, write.node("v", "VarHandleOp"), relu("a", "x", "v", op="AddV2")),
        "reads a variable; freeze the graph",
    ),
    "chance": (
        (X, write.ints("s", (3,)), relu("r", "s", op="RandomUniform"), relu("a", "x", "r", op="Mul")),
        "draws random numbers",
    ),
    "unknown": ((X, relu("a", "x", op="Strange"), relu("b", "a", op="Strange")), r"unknown shape: Strange \(2 times\)"),
    "data decides": (
        (X, relu("a", "x", op="Where", _output_shapes=write.shapes((None, None)))),
        r"size or dtype of a:0 \(Where\) is not known before the model runs",
    ),
    "misfit": (
        (X, write.weights("w", (3, 3, 4, 4)), write.conv("c", "x", "w")),
        r"c \(Conv2D\): 3 channels into a filter for 4",
    ),
    "too few inputs": ((X, relu("c", "x", op="Conv2D")), r"c \(Conv2D\)"),
    "an output that is none": ((X, relu("a", "x"), relu("b", "a:3")), "takes an output that its source does not have"),
}


@pytest.mark.parametrize(("nodes", "says"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_sliced_is_refused_by_name(read, nodes, says):
    with pytest.raises((UnsupportedModelError, ModelFileError), match=says) as refusal:
        read(*nodes)
    assert "net.pb" in refusal.value.where
    assert refusal.value.mend


def test_inputs_and_outputs_that_do_not_belong_together_are_refused(read):
    nodes = (
        X,
        write.placeholder("y", (None, 2)),
        relu("a", "x"),
        relu("b", "y"),
        write.weights("w", (2,)),
        relu("c", "w"),
    )
    with pytest.raises(UnsupportedModelError, match="the outputs do not depend on y"):
        read(*nodes, inputs=["x", "y"], outputs=["a"])
    with pytest.raises(
        UnsupportedModelError, match=r"x \(Placeholder\) is fed from outside and is not among the inputs"
    ):
        read(*nodes, inputs=["y"], outputs=["a", "b"])
    with pytest.raises(UnsupportedModelError, match="output c does not depend on an input"):
        read(*nodes, inputs=["x"], outputs=["a", "c"])
    with pytest.raises(UnsupportedModelError, match="no output nothing; its placeholders: x, y"):
        read(*nodes, outputs=["nothing"])
    with pytest.raises(UnsupportedModelError, match="the graph has no output a:7"):
        read(*nodes, outputs=["a:7"])


def test_a_graph_that_lost_its_beginning_is_refused(read):
    with pytest.raises(ModelFileError, match="a takes lost, which is missing"):
        read(X, relu("a", "x", "lost", op="AddV2"))


def test_functions_that_nothing_calls_do_no_harm(read):
    assert names(read(X, relu("a", "x"), write.library("inner"))) == ["x", "a"]


@pytest.mark.parametrize(
    ("name", "operators", "parameters", "gigaflops"),
    [("vgg_16.pb", 56, 138_357_544, 30.97), ("inception_v3.pb", 319, 23_871_049, 11.48)],
)
def test_the_slim_models_have_their_published_size_and_work(name, operators, parameters, gigaflops):
    graph = read_graph(DATA / name)
    assert len(graph.operators) == operators
    assert graph.parameters == parameters
    assert graph.flops / 1e9 == pytest.approx(gigaflops, abs=0.01)
