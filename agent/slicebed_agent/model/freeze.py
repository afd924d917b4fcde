"""A Keras model or a SavedModel as a frozen GraphDef: variables become constants, only what the outputs need stays.

TensorFlow's own tool sends the whole graph, weights included, through its optimiser, which takes most of a minute for
the largest models. A Keras model's trace calls no functions and reads each variable by one operator, so that exchanging
those operators is all there is to do. The tool is used only where that does not hold.
"""

from __future__ import annotations

import dataclasses
import importlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.card import LayerCard, TensorCard
from slicebed_agent.model.graph_writer import Weight, write_graph
from slicebed_agent.model.layer_trace import LayerCall, readable_names, unused
from slicebed_agent.model.layer_trace import legal as legal_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed_agent.model.files import Incoming

CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
CONTROL_FLOW: Final = frozenset(
    {"While", "StatelessWhile", "If", "StatelessIf", "Case", "StatelessCase", "For"}
    | {"Switch", "Merge", "Enter", "Exit", "NextIteration", "LoopCond"}  # TensorFlow 1
)
NO_LAYERS: Final = "the model has no layer graph (a subclassed model or a SavedModel): operators only"


@dataclasses.dataclass(frozen=True)
class Trace:
    """A model as TensorFlow traced it.

    Attributes:
        concrete: the concrete function; never called. It returns `outputs`.
        inputs: its placeholders' tensors, in the order of feeding.
        outputs: tensors to fetch, in order.
        owner: the model; a function refers to its variables only weakly.
        calls: of the model's layers.
        paths: a variable's path, by the identity of its handle; empty where variables have none.
    """

    concrete: Any
    inputs: tuple[Any, ...]
    outputs: tuple[Any, ...]
    owner: Any
    calls: tuple[LayerCall, ...] = ()
    paths: Mapping[int, str] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Frozen:
    """What was written.

    Attributes:
        inputs: see `card.ModelCard`.
        outputs: the same.
        layers: the same.
        layers_note: the same.
    """

    inputs: tuple[TensorCard, ...]
    outputs: tuple[TensorCard, ...]
    layers: tuple[LayerCard, ...]
    layers_note: str


def freeze(trace: Trace, sink: Incoming) -> Frozen:
    """Write a traced model as a frozen GraphDef; the same model gives the same bytes.

    Raises:
        AgentConfigError: it has control flow, variables that cannot become constants, or is too large.
    """
    graph_def = trace.concrete.graph.as_graph_def(add_shapes=True)
    weights = _weights(trace, graph_def)
    if weights is None:
        # Functions are inlined under other names; only the traced function's own outputs keep theirs.
        trace = dataclasses.replace(trace, outputs=tuple(trace.concrete.outputs))
        graph_def, weights = _by_the_tool(trace.concrete), {}
    return _write(trace, graph_def, weights, sink)


def _weights(trace: Trace, graph_def: Any) -> dict[str, tuple[str, Any]] | None:
    """The variable (its path and itself) that each reading operator reads.

    Returns:
        None where a variable is used in another way, or functions are called.
    """
    variables = {id(variable.handle): variable for variable in trace.concrete.graph.variables}
    held = {inner.op.name: outer for outer, inner in trace.concrete.graph.captures}
    if any(id(outer) not in variables for outer in held.values()):
        return None
    reads: dict[str, tuple[str, Any]] = {}
    for node in graph_def.node:
        used = [source for source in node.input if _operator(source) in held]
        if node.op in CALLS or (used and node.op != "ReadVariableOp"):
            return None
        if used:
            handle = id(held[_operator(used[0])])
            reads[node.name] = (trace.paths.get(handle, node.name), variables[handle])
    return reads


def _by_the_tool(concrete: Any) -> Any:
    """TensorFlow's own way, which inlines functions.

    Raises:
        AgentConfigError: it refused.
    """
    convert: Any = importlib.import_module("tensorflow.python.framework.convert_to_constants")
    try:
        frozen = convert.convert_variables_to_constants_v2(concrete, lower_control_flow=False)
        return frozen.graph.as_graph_def(add_shapes=True)
    except Exception as error:  # TensorFlow's errors have no common root
        raise AgentConfigError(
            f"TensorFlow cannot freeze it: {str(error)[:300]}",
            where="freeze",
            mend="lookup tables and more than 2 GB of weights cannot become constants",
        ) from error


def _write(trace: Trace, graph_def: Any, reads: Mapping[str, tuple[str, Any]], sink: Incoming) -> Frozen:
    nodes = {node.name: node for node in graph_def.node}
    needed = _needed(nodes, reads, [each.op.name for each in (*trace.outputs, *trace.inputs)])
    _refuse_control_flow(node for node in nodes.values() if node.name in needed)
    made = [operator.name for operator in trace.concrete.graph.get_operations()]
    placeholders = {each.op.name for each in trace.inputs}
    names = {name: name for name in needed}
    names |= readable_names(trace.calls, made, needed - set(reads))
    constants = _constant_names(reads, needed, set(names.values()))
    names |= constants
    parts: list[bytes | Weight] = []
    written: set[str] = set()
    for node in graph_def.node:
        if node.name not in needed or names[node.name] in written:
            continue
        written.add(names[node.name])
        if node.name in reads:
            parts.append(_weight(names[node.name], reads[node.name][1]))
        else:
            parts.append(_plain(node, names, constants))
    write_graph(parts, graph_def.versions.SerializeToString(deterministic=True), sink)
    layers = _layers(trace, made, names, _depending(graph_def, needed, placeholders))
    return Frozen(
        tuple(_card(each, names) for each in trace.inputs),
        tuple(_card(each, names) for each in trace.outputs),
        layers,
        "" if layers else NO_LAYERS,
    )


def _needed(nodes: Mapping[str, Any], reads: Mapping[str, Any], wanted: Sequence[str]) -> set[str]:
    """Operators that these need, themselves included.

    Raises:
        AgentConfigError: one of them is not in the graph.
    """
    needed: set[str] = set()
    waiting = list(wanted)
    while waiting:
        name = waiting.pop()
        if name in needed:
            continue
        if name not in nodes:
            raise AgentConfigError(
                f"{name} was lost while functions were inlined", where="freeze", mend="name other outputs"
            )
        needed.add(name)
        if name not in reads:
            waiting.extend(_operator(source) for source in _sources(nodes[name], reads))
    return needed


def _sources(node: Any, reads: Mapping[str, Any]) -> list[str]:
    """Inputs of an operator, without waiting for what is a constant once it is frozen."""
    return [source for source in node.input if not (source.startswith("^") and source[1:] in reads)]


def _refuse_control_flow(nodes: Any) -> None:
    for node in nodes:
        if node.op in CONTROL_FLOW:
            raise AgentConfigError(
                f"control flow: {node.name} is a {node.op}",
                where="freeze",
                mend="a loop has no split points; unroll it (unroll=True of a recurrent layer)",
            )


def _constant_names(reads: Mapping[str, tuple[str, Any]], needed: set[str], taken: set[str]) -> dict[str, str]:
    """One name per variable, by every operator that reads it."""
    taken -= set(reads)
    by_variable: dict[int, str] = {}
    names: dict[str, str] = {}
    for read, (path, variable) in reads.items():
        if read in needed:
            if id(variable) not in by_variable:
                by_variable[id(variable)] = unused(legal_name(path), taken)
            names[read] = by_variable[id(variable)]
    return names


def _weight(name: str, variable: Any) -> Weight:
    shape = tuple(variable.shape.as_list())
    size_bytes = int(np.prod(shape, dtype=np.int64)) * variable.dtype.size
    return Weight(name, variable.dtype.as_datatype_enum, shape, size_bytes, variable.numpy)


def _plain(node: Any, names: Mapping[str, str], constants: Mapping[str, str]) -> bytes:
    """An operator with its new name and those of its inputs, without what only the trace was interested in."""
    renamed = type(node)()
    renamed.CopyFrom(node)
    renamed.name = names[node.name]
    renamed.device = ""
    renamed.ClearField("experimental_debug_info")
    del renamed.input[:]
    renamed.input.extend(_renamed(source, names) for source in _sources(node, constants))
    for key in [key for key in renamed.attr if key.startswith("_") and key != "_output_shapes"]:
        del renamed.attr[key]
    return bytes(renamed.SerializeToString(deterministic=True))


def _operator(source: str) -> str:
    """The operator that an input names: ``^name``, ``name`` or ``name:k``."""
    return source.removeprefix("^").split(":")[0]


def _renamed(source: str, names: Mapping[str, str]) -> str:
    operator = _operator(source)
    return source.replace(operator, names[operator], 1)


def _depending(graph_def: Any, needed: set[str], placeholders: set[str]) -> set[str]:
    """Needed operators that depend on an input."""
    consumers: dict[str, list[str]] = {}
    for node in graph_def.node:
        if node.name in needed:
            for source in node.input:
                consumers.setdefault(_operator(source), []).append(node.name)
    depending: set[str] = set()
    waiting = list(placeholders)
    while waiting:
        for name in consumers.get(waiting.pop(), ()):
            if name not in depending:
                depending.add(name)
                waiting.append(name)
    return depending


def _layers(trace: Trace, made: Sequence[str], names: Mapping[str, str], depending: set[str]) -> tuple[LayerCard, ...]:
    rows = [
        LayerCard(
            call.name,
            call.kind,
            tuple(_renamed(each, names) for each in call.outputs if _operator(each) in names),
            tuple(names[name] for name in made[call.first : call.last] if name in depending),
            call.parameters,
        )
        for call in trace.calls
    ]
    # What the outputs do not need has neither; outputs without operators are those of a layer that only passes on.
    used = [row for row in rows if row.operators or row.outputs]
    return () if any(row.operators and not row.outputs for row in used) else tuple(used)


def _card(tensor: Any, names: Mapping[str, str]) -> TensorCard:
    shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return TensorCard(_renamed(tensor.name, names), tensor.dtype.as_numpy_dtype().dtype.name, shape)
