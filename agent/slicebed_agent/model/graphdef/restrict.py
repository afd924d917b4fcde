"""The part of a graph between its inputs and its outputs, in order; what hides its operators is refused here."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef.errors import ModelFileError, UnsupportedModelError
from slicebed_agent.model.graphdef.shapes import FUNCTIONS
from slicebed_agent.model.graphdef.values import operators
from slicebed_agent.model.graphdef.wire import tensor_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graphdef.wire import Node, NodeFile

_CONTROL_FLOW: Final = operators(
    "Switch RefSwitch Merge RefMerge Enter RefEnter Exit RefExit NextIteration RefNextIteration LoopCond While "
    "StatelessWhile If StatelessIf Case StatelessCase"
)
_CALLS: Final = operators("PartitionedCall StatefulPartitionedCall SymbolicGradient RemoteCall")
_VARIABLES: Final = operators(
    "Variable VariableV2 TemporaryVariable AutoReloadVariable VarHandleOp ReadVariableOp ResourceGather"
)
_RANDOM: Final = operators(
    "RandomUniform RandomUniformInt RandomStandardNormal TruncatedNormal RandomShuffle RandomGamma Multinomial"
)
# Operators whose outputs are several answers: which of them are the model's must be said.
_SEVERAL: Final = operators("Split SplitV Unpack TopK TopKV2 IdentityN ShapeN")
_EFFECTS: Final = frozenset({"NoOp", "Assert"})
_IS_CONTROL_FLOW: Final = (
    "is control flow",
    "export the model for inference, with its conditions and loops resolved",
)
_LOOP: Final = "the file is damaged: export it again"
_SHOWN: Final = 8


@dataclass
class Part:
    """What lies between inputs and outputs.

    Attributes:
        order: needed nodes, each after all that it needs; constants among them.
        inputs, outputs: as (node, output's number).
        depends: nodes whose value an input changes.
        sources: per node, its data inputs as (node, output's number).
        controls: per node, the nodes that must have run before, without a tensor from them.
    """

    inputs: tuple[tuple[str, int], ...]
    outputs: tuple[tuple[str, int], ...]
    order: list[str] = field(default_factory=list)
    depends: set[str] = field(default_factory=set)
    sources: dict[str, tuple[tuple[str, int], ...]] = field(default_factory=dict)
    controls: dict[str, tuple[str, ...]] = field(default_factory=dict)


def restrict(file: NodeFile, inputs: Sequence[str] | None, outputs: Sequence[str] | None) -> Part:
    """What depends on the inputs and reaches the outputs.

    The order is the postorder of a depth-first walk from the outputs backwards, a node's inputs in the order in which
    the file has them, the placeholders of the inputs first: each branch is finished before the next one begins, so
    that few tensors are live at a time. It depends on nothing but the file and the names given.

    Args:
        file: the nodes.
        inputs: tensors (or operators) fed from outside; None where there is one placeholder.
        outputs: tensors (or operators) that are the answer; None where there is one that nothing consumes.

    Raises:
        ModelFileError: a node's input is missing, or a node depends on itself.
        UnsupportedModelError: inputs or outputs are not named and not evident, or do not reach each other; control
            flow, functions, variables that were not frozen, random numbers, operators of unknown shape.
    """
    fed = (
        _named(file, inputs, "input")
        if inputs is not None
        else tuple((name, 0) for name, node in file.nodes.items() if node.op == "Placeholder")
    )
    wanted = _named(file, outputs, "output") if outputs is not None else _sinks(file, {name for name, _ in fed})
    part = Part(fed, wanted)
    _walk(file, part)
    reached = set(part.order)
    if inputs is None:
        part.inputs = tuple(each for each in fed if each[0] in reached)
        if len(part.inputs) > 1:
            raise _ask(file, "inputs", [f"{name}:{number}" for name, number in part.inputs])
    lost = [name for name, _ in part.inputs if name not in reached]
    if lost or not part.inputs:
        raise UnsupportedModelError(
            f"the outputs do not depend on {', '.join(lost) or 'any placeholder'}",
            where=str(file.path),
            mend="name the inputs and outputs that belong together",
        )
    _dependence(part)
    _refuse(file, part)
    _refuse_constant_answers(file, part)
    first = {name for name, _ in part.inputs}
    part.order = [*dict.fromkeys(name for name, _ in part.inputs), *(name for name in part.order if name not in first)]
    return part


def _named(file: NodeFile, names: Sequence[str], role: str) -> tuple[tuple[str, int], ...]:
    found = tuple(tensor_of(name) for name in names)
    later = [name for name, (_, number) in zip(names, found, strict=True) if number and role == "input"]
    if later:
        raise UnsupportedModelError(
            f"{_list(later)} is not its operator's first output", where=str(file.path), mend="name another input"
        )
    missing = [name for name, (node, _) in zip(names, found, strict=True) if node not in file.nodes]
    if missing or not found:
        raise UnsupportedModelError(
            f"the graph has no {role} {', '.join(missing)}",
            where=str(file.path),
            mend=f"its placeholders: {_list([n for n, node in file.nodes.items() if node.op == 'Placeholder'])}",
        )
    return found


def _list(names: Sequence[str]) -> str:
    rest = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "") if names else "none"


def _ask(file: NodeFile, role: str, names: Sequence[str]) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"several {role}: {_list(names)}", where=str(file.path), mend=f"name the {role} that the model has"
    )


def _sinks(file: NodeFile, fed: set[str]) -> tuple[tuple[str, int], ...]:
    """The one tensor that depends on a placeholder and that nothing consumes."""
    consumers: defaultdict[str, list[str]] = defaultdict(list)
    awaited: set[str] = set()
    for name, node in file.nodes.items():
        awaited.update(node.controls)
        for source, _ in node.inputs:
            consumers[source].append(name)
    seen = set(fed)
    waiting = list(fed)
    while waiting:
        for name in consumers.get(waiting.pop(), ()):
            if name not in seen:
                seen.add(name)
                waiting.append(name)
    seen -= fed | consumers.keys() | awaited
    ends = [name for name, node in file.nodes.items() if name in seen and node.op not in _EFFECTS]
    if len(ends) == 1 and file.nodes[ends[0]].op in _SEVERAL:
        raise _ask(file, "outputs", [f"{ends[0]}:0", f"{ends[0]}:1", "..."])
    if len(ends) > 1:
        raise _ask(file, "outputs", [f"{name}:0" for name in ends])
    if not ends:
        raise UnsupportedModelError(
            "no output that depends on a placeholder", where=str(file.path), mend="name the inputs and outputs"
        )
    return ((ends[0], 0),)


def _walk(file: NodeFile, part: Part) -> None:
    """Fill order, sources and controls, backwards from the outputs; the inputs are where the walk stops."""
    nodes, sources = file.nodes, part.sources
    stops = {name for name, _ in part.inputs}
    done: set[str] = set()
    stack: list[tuple[str, bool]] = [(name, False) for name, _ in reversed(part.outputs)]
    while stack:
        name, left = stack.pop()
        if left:
            done.add(name)
            part.order.append(name)
            continue
        if name in done:
            continue
        node = nodes[name]
        if name in sources:  # it was entered, and is not left yet
            raise ModelFileError(f"{name} depends on itself", where=_at(file, node), mend=_LOOP)
        if node.op in _CONTROL_FLOW:
            raise _refusal(file, node, *_IS_CONTROL_FLOW)
        data, controls = (node.inputs, node.controls) if name not in stops else ((), ())
        sources[name], part.controls[name] = data, controls
        stack.append((name, True))
        needs = [source for source, _ in data]
        needs += controls
        for source in reversed(needs):
            if source not in nodes:
                raise ModelFileError(
                    f"{name} takes {source}, which is missing",
                    where=_at(file, node),
                    mend="the file is truncated, or only a part of a graph",
                )
            if source not in done:
                stack.append((source, False))


def _at(file: NodeFile, node: Node) -> str:
    return f"{file.path} at byte {node.offset}"


def _refusal(file: NodeFile, node: Node, what: str, mend: str) -> UnsupportedModelError:
    return UnsupportedModelError(f"{node.name} ({node.op}) {what}", where=_at(file, node), mend=mend)


def _dependence(part: Part) -> None:
    part.depends = {name for name, _ in part.inputs}
    for name in part.order:
        for source, _ in part.sources[name]:
            if source in part.depends:
                part.depends.add(name)
                break


def _refuse_constant_answers(file: NodeFile, part: Part) -> None:
    fixed = [name for name, _ in part.outputs if name not in part.depends]
    if fixed:
        raise UnsupportedModelError(
            f"output {_list(fixed)} does not depend on an input", where=str(file.path), mend="name another output"
        )


def _refuse(file: NodeFile, part: Part) -> None:
    """Name what cannot be sliced, by kind."""
    fed = {name for name, _ in part.inputs}
    unknown: Counter[str] = Counter()
    for name in part.order:
        node = file.nodes[name]
        if name in fed:
            continue
        if node.op in FUNCTIONS:
            continue
        reason = _reason(file, node)
        if reason is not None:
            raise _refusal(file, node, *reason)
        if not node.shapes("_output_shapes"):
            unknown[node.op] += 1
    if unknown:
        raise UnsupportedModelError(
            f"operators of unknown shape: {_list([f'{op} ({count} times)' for op, count in sorted(unknown.items())])}",
            where=str(file.path),
            mend="export the graph with the attribute _output_shapes (as_graph_def(add_shapes=True))",
        )


def _reason(file: NodeFile, node: Node) -> tuple[str, str] | None:
    if (
        node.op in _CALLS
        or node.op in file.functions
        or any(node.attribute(key).calls for key in node.attributes if key != "_output_shapes")
    ):
        return "calls a function, which hides operators", "freeze the graph with its functions inlined"
    if node.op in _VARIABLES:
        return "reads a variable", "freeze the graph: turn its variables into constants"
    if node.op in _RANDOM:
        return "draws random numbers: two runs differ", "export the model for inference"
    if node.op == "Placeholder":
        return "is fed from outside and is not among the inputs", f"name it as an input too: {node.name}:0"
    return None
