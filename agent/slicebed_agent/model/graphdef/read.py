"""A frozen GraphDef's file as the graph of operators that the cut algorithms work on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from slicebed_agent.model.graph import Constant, Graph, Operator, Tensor
from slicebed_agent.model.graphdef import dtypes, shapes
from slicebed_agent.model.graphdef.errors import ModelFileError, ShapeError, UnsupportedModelError, WireError
from slicebed_agent.model.graphdef.flops import flops
from slicebed_agent.model.graphdef.infer import infer
from slicebed_agent.model.graphdef.restrict import restrict
from slicebed_agent.model.graphdef.wire import read_nodes

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from slicebed_agent.model.graphdef.attributes import Dims
    from slicebed_agent.model.graphdef.infer import Made
    from slicebed_agent.model.graphdef.restrict import Part
    from slicebed_agent.model.graphdef.wire import Node, NodeFile

_SHAPE_MEND: Final = "give the input's shape, for example 224,224,3"


def read_graph(
    path: Path,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    layers: Mapping[str, str] | None = None,
    input_shape: Sequence[int | None] | None = None,
) -> Graph:
    """Read a frozen GraphDef without TensorFlow.

    Only what depends on an input and reaches an output becomes an operator; what does not depend on an input
    (weights, and arithmetic on weights) becomes constants of the operators that use it. For the operators' order see
    `restrict.restrict`. Sizes are those of one frame.

    Args:
        path: the .pb file; variables frozen to constants.
        inputs: names of the input tensors (``name`` or ``name:k``); None where the model has one placeholder.
        outputs: names of the output tensors; None where the model has one.
        layers: layer of an operator by its name or by a name scope around it (the longest wins); None, and for
            operators that it leaves out: the name scope that holds the operator.
        input_shape: of the one input, batch included (None there: open); needed where the file leaves it open.

    Raises:
        ModelFileError: the file is truncated, foreign or too large.
        UnsupportedModelError: what the file holds cannot be sliced: see `restrict.restrict`; or sizes are not known.
    """
    file = read_nodes(path)
    try:
        part = restrict(file, inputs, outputs)
        fed = _fed(file, part, input_shape)
        return _graph(file, part, infer(file, part, fed), layers or {})
    except WireError as error:
        raise ModelFileError(
            f"an attribute is malformed: {error.what}", where=str(path), mend="the file is damaged: export it again"
        ) from error


def _fed(file: NodeFile, part: Part, input_shape: Sequence[int | None] | None) -> dict[str, Dims]:
    names = dict.fromkeys(name for name, _ in part.inputs)
    if input_shape is not None and len(names) > 1:
        raise UnsupportedModelError(
            "one shape was given for several inputs", where=str(file.path), mend="leave it out, or name one input"
        )
    return {name: _input_dims(file, file.nodes[name], input_shape) for name in names}


def _input_dims(file: NodeFile, node: Node, given: Sequence[int | None] | None) -> Dims:
    """An input's shape: what the file says, completed by what was given."""
    declared = (node.shapes("_output_shapes") or node.shapes("shape") or (None,))[0]
    # Old TensorFlow wrote a placeholder of unknown shape as a scalar.
    if not declared:
        declared = None
    dims = declared if given is None else tuple(given)
    where = f"{file.path}: input {node.name}"
    if dims is None or any(size is None for size in dims[1:]):
        raise UnsupportedModelError(f"its shape {_shown(dims)} leaves sizes unknown", where=where, mend=_SHAPE_MEND)
    if any(size is not None and size < 1 for size in dims):
        raise UnsupportedModelError(f"no frame has the shape {_shown(dims)}", where=where, mend=_SHAPE_MEND)
    if declared is not None and (
        len(declared) != len(dims)
        or any(None not in pair and pair[0] != pair[1] for pair in zip(declared, dims, strict=True))
    ):
        raise UnsupportedModelError(
            f"shape {_shown(dims)} was given, the file says {_shown(declared)}", where=where, mend="give one that fits"
        )
    return dims


def _shown(dims: Dims | None) -> str:
    return "(unknown)" if dims is None else f"({', '.join('?' if size is None else str(size) for size in dims)})"


def _graph(file: NodeFile, part: Part, made: Mapping[str, Made], layers: Mapping[str, str]) -> Graph:
    used = {each for name in part.depends for each in part.sources[name]} | set(part.outputs)
    roots, musts = _constant_side(part)
    fed = {name for name, _ in part.inputs}
    known: dict[int, _Sizes] = {}
    operators = []
    for name in part.order:
        if name not in part.depends:
            continue
        node = file.nodes[name]
        sources = part.sources[name]
        sizes = known.get(id(made[name]))
        if sizes is None:
            sizes = known[id(made[name])] = _sizes(node, made[name], counted=name not in fed)
        fixed = [source for source, _ in sources if source not in part.depends]
        before = [each for control in (*part.controls[name], *fixed) for each in _run_before(part, musts, control)]
        operators.append(
            Operator(
                name=name,
                kind="Placeholder" if name in fed else node.op,
                inputs=tuple([f"{source}:{number}" for source, number in sources if source in part.depends]),
                outputs=_tensors(file, node, sizes, used),
                constants=tuple(dict.fromkeys([each for source in fixed for each in roots[source]])),
                control_inputs=tuple(dict.fromkeys(before)),
                layer=_layer(name, layers),
                flops=sizes.flops,
            )
        )
    missing = [f"{name}:{number}" for name, number in part.outputs if number >= len(made[name].one)]
    if missing:
        raise UnsupportedModelError(
            f"the graph has no output {missing[0]}", where=str(file.path), mend="its operator has fewer outputs"
        )
    names = dict.fromkeys(each for operator in operators for each in operator.constants)
    return Graph(
        name=file.path.stem,
        operators=tuple(operators),
        inputs=tuple(f"{name}:{number}" for name, number in part.inputs),
        outputs=tuple(f"{name}:{number}" for name, number in part.outputs),
        constants=_constants(file, names),
    )


def _constant_side(part: Part) -> tuple[dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """Per node that no input changes: the constants it is made of, and the operators that must run before it."""
    roots: dict[str, tuple[str, ...]] = {}
    musts: dict[str, tuple[str, ...]] = {}
    for name in part.order:
        if name in part.depends:
            continue
        sources = [source for source, _ in part.sources[name]]
        if len(sources) == 1:
            roots[name] = roots[sources[0]]
        elif sources:
            roots[name] = tuple(dict.fromkeys([each for source in sources for each in roots[source]]))
        else:
            roots[name] = (name,)
        waits = (*sources, *part.controls[name])
        musts[name] = tuple(dict.fromkeys([each for source in waits for each in _run_before(part, musts, source)]))
    return roots, musts


def _run_before(part: Part, musts: Mapping[str, tuple[str, ...]], name: str) -> tuple[str, ...]:
    return (name,) if name in part.depends else musts[name]


class _Sizes(NamedTuple):
    """What the operators that share a `Made` have in common, as the graph tells it.

    Attributes:
        outputs: dtype, shape, elements and bytes of each; see `Tensor`. A dtype of None is none.
        flops: for one frame.
    """

    outputs: tuple[tuple[str | None, Dims | None, int | None, int | None], ...]
    flops: int


def _sizes(node: Node, made: Made, *, counted: bool) -> _Sizes:
    outputs = []
    for single, double, dtype in zip(made.one, made.two, shapes.output_dtypes(node, len(made.one)), strict=False):
        width = dtypes.size(dtype)
        size = None if width is None or single.elements is None else single.elements * width
        outputs.append((dtypes.name(dtype), _open(single.dims, double.dims), single.elements, size))
    return _Sizes(tuple(outputs), _flops(node, made) if counted else 0)


def _tensors(file: NodeFile, node: Node, sizes: _Sizes, used: set[tuple[str, int]]) -> tuple[Tensor, ...]:
    found = []
    for place, (dtype, dims, elements, size) in enumerate(sizes.outputs):
        if (dtype is None or elements is None) and (node.name, place) in used:
            raise UnsupportedModelError(
                f"the size or dtype of {node.name}:{place} ({node.op}) is not known before the model runs",
                where=f"{file.path} at byte {node.offset}",
                mend="give the input's shape; sizes that depend on the data cannot be sliced",
            )
        found.append(Tensor(f"{node.name}:{place}", dtype or "object", dims, elements, size))
    return tuple(found)


def _open(one: Dims | None, two: Dims | None) -> Dims | None:
    """The shape with None where the batch has a say."""
    if one is None or two is None or len(one) != len(two):
        return None
    return (
        one if one == two else tuple(first if first == second else None for first, second in zip(one, two, strict=True))
    )


def _flops(node: Node, made: Made) -> int:
    try:
        return flops(node, made.inputs, made.one)
    except (ShapeError, IndexError) as error:
        raise UnsupportedModelError(
            f"{node.name} ({node.op}): its inputs do not fit: {error}", mend="the file is damaged: export it again"
        ) from error


def _layer(name: str, layers: Mapping[str, str]) -> str:
    scope = name if layers else ""
    while scope:
        if scope in layers:
            return layers[scope]
        scope = scope.rpartition("/")[0]
    return name.rpartition("/")[0] or name


def _constants(file: NodeFile, names: Iterable[str]) -> dict[str, Constant]:
    """By name; constants that say the same of themselves (see `wire.Node`) are one."""
    known: dict[int, Constant] = {}
    found = {}
    for name in names:
        node = file.nodes[name]
        same = id(node.attributes)
        if same not in known:
            known[same] = _constant(node)
        found[name] = known[same]
    return found


def _constant(node: Node) -> Constant:
    tensor = node.tensor("value")
    if tensor is None:
        return Constant(0, 0, is_parameter=False)
    return Constant(
        elements=tensor.elements,
        bytes=tensor.elements * (dtypes.size(tensor.dtype) or 0),
        is_parameter=dtypes.is_floating(tensor.dtype) and bool(tensor.dims),
    )
