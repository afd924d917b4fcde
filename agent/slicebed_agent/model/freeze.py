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
from slicebed_agent.model.inlined import operator_of, ordering_inputs, past_identities
from slicebed_agent.model.layer_trace import LayerCall, readable_names, unused
from slicebed_agent.model.layer_trace import legal as legal_name

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slicebed_agent.model.files import Incoming

CALLS: Final = frozenset({"PartitionedCall", "StatefulPartitionedCall"})
LOOPS: Final = frozenset({"While", "StatelessWhile", "For", "Enter", "Exit", "NextIteration", "LoopCond"})
CONDITIONS: Final = frozenset({"If", "StatelessIf", "Case", "StatelessCase", "Switch", "Merge"})
_UNROLL: Final = "a loop has no split points; unroll it (unroll=True of a recurrent layer)"
_RESOLVE: Final = (
    "a condition hides its branches: export one of them, or compute both (tf.where); an assertion of tf.debugging is a"
    " condition too"
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
class _Edges:
    """What is left of a graph's edges.

    Attributes:
        sources: inputs of every operator.
        outputs: names of the tensors that are the model's outputs.
    """

    sources: Mapping[str, Sequence[str]]
    outputs: Sequence[str]


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
    _refuse_without_numbers((*trace.inputs, *trace.outputs))
    graph_def = trace.concrete.graph.as_graph_def(add_shapes=True)
    weights = _weights(trace, graph_def)
    inlined = weights is None
    if weights is None:
        # Functions are inlined under other names; only the traced function's own outputs keep theirs.
        trace = dataclasses.replace(trace, outputs=tuple(trace.concrete.outputs))
        graph_def, weights = _by_the_tool(trace.concrete), {}
    nodes = {node.name: node for node in graph_def.node}
    sources = ordering_inputs(nodes, weights, _has_effect)
    outputs = [each.name for each in trace.outputs]
    if inlined:
        sources, outputs = _shortened(trace, nodes, sources)
    return _write(trace, graph_def, _Edges(sources, outputs), weights, sink)


def _refuse_without_numbers(tensors: Iterable[Any]) -> None:
    for tensor in tensors:
        if not (tensor.dtype.is_floating or tensor.dtype.is_integer or tensor.dtype.is_bool or tensor.dtype.is_complex):
            raise AgentConfigError(
                f"{tensor.name} holds values of type {tensor.dtype.name}, not numbers",
                where="freeze",
                mend="export the part of the model that takes and gives numbers: decode before it",
            )


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
        used = [source for source in node.input if operator_of(source) in held]
        if node.op in CALLS or (used and node.op != "ReadVariableOp"):
            return None
        if used:
            handle = id(held[operator_of(used[0])])
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
            mend="export it for inference; lookup tables and more than 2 GB of weights cannot become constants",
        ) from error


def _shortened(
    trace: Trace, nodes: Mapping[str, Any], sources: Mapping[str, Sequence[str]]
) -> tuple[dict[str, list[str]], list[str]]:
    """Inputs and outputs past what only passes them in and out of functions."""
    tables = {operator_of(output) for call in trace.calls for output in call.outputs}
    own = {each.op.name for each in trace.outputs}
    for kept in (tables, tables | own):
        shortened, passed = past_identities(nodes, sources, kept)
        outputs = [passed.get(each.op.name, each.name) for each in trace.outputs]
        outputs = [output if ":" in output else f"{output}:0" for output in outputs]
        # Of an input or a tensor that is an output twice, the outputs' own operators tell them apart.
        if len({*outputs, *(each.name for each in trace.inputs)}) == len(outputs) + len(trace.inputs):
            break
    return shortened, outputs


def _write(trace: Trace, graph_def: Any, edges: _Edges, reads: Mapping[str, tuple[str, Any]], sink: Incoming) -> Frozen:
    sources = edges.sources
    needed = _needed(sources, [*map(operator_of, edges.outputs), *(each.op.name for each in trace.inputs)])
    _refuse_control_flow(node for node in graph_def.node if node.name in needed)
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
            parts.append(_plain(node, names, sources[node.name]))
    write_graph(parts, graph_def.versions.SerializeToString(deterministic=True), sink)
    layers = _layers(trace, made, names, _depending(sources, needed, placeholders))
    return Frozen(
        tuple(_card(each, each.name, names) for each in trace.inputs),
        tuple(_card(each, name, names) for each, name in zip(trace.outputs, edges.outputs, strict=True)),
        layers,
        "" if layers else NO_LAYERS,
    )


def _needed(sources: Mapping[str, Sequence[str]], wanted: Sequence[str]) -> set[str]:
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
        if name not in sources:
            raise AgentConfigError(
                f"{name} was lost while functions were inlined", where="freeze", mend="name other outputs"
            )
        needed.add(name)
        waiting.extend(operator_of(source) for source in sources[name])
    return needed


def _has_effect(kind: str) -> bool:
    """Whether TensorFlow says so of a kind of operator; of one that it does not know, nobody can tell."""
    registry: Any = importlib.import_module("tensorflow.python.framework.op_def_registry")
    known = registry.get(kind)
    return known is None or bool(known.is_stateful)


def _refuse_control_flow(nodes: Iterable[Any]) -> None:
    found: dict[str, str] = {}
    for node in nodes:
        found.setdefault(node.op, node.name)
    for kinds, mend in ((LOOPS, _UNROLL), (CONDITIONS, _RESOLVE)):  # TensorFlow 1's loops hold conditions
        for kind in sorted(kinds & found.keys()):
            raise AgentConfigError(f"control flow: {found[kind]} is a {kind}", where="freeze", mend=mend)


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


def _plain(node: Any, names: Mapping[str, str], sources: Sequence[str]) -> bytes:
    """An operator with its new name and those of its inputs, without what only the trace was interested in."""
    renamed = type(node)()
    renamed.CopyFrom(node)
    renamed.name = names[node.name]
    renamed.device = ""
    renamed.ClearField("experimental_debug_info")
    del renamed.input[:]
    renamed.input.extend(_renamed(source, names) for source in sources)
    for key in [key for key in renamed.attr if key.startswith("_") and key != "_output_shapes"]:
        del renamed.attr[key]
    return bytes(renamed.SerializeToString(deterministic=True))


def _renamed(source: str, names: Mapping[str, str]) -> str:
    operator = operator_of(source)
    return source.replace(operator, names[operator], 1)


def _depending(sources: Mapping[str, Sequence[str]], needed: set[str], placeholders: set[str]) -> set[str]:
    """Needed operators that depend on an input."""
    consumers: dict[str, list[str]] = {}
    for name in needed:
        for source in sources[name]:
            consumers.setdefault(operator_of(source), []).append(name)
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
            tuple(_renamed(each, names) for each in call.outputs if operator_of(each) in names),
            tuple(names[name] for name in made[call.first : call.last] if name in depending),
            call.parameters,
        )
        for call in trace.calls
    ]
    # What the outputs do not need has neither; outputs without operators are those of a layer that only passes on.
    used = [row for row in rows if row.operators or row.outputs]
    return () if any(row.operators and not row.outputs for row in used) else tuple(used)


def _card(tensor: Any, name: str, names: Mapping[str, str]) -> TensorCard:
    shape = None if tensor.shape.rank is None else tuple(tensor.shape.as_list())
    return TensorCard(_renamed(name, names), tensor.dtype.as_numpy_dtype().dtype.name, shape)
