"""What inlining functions leaves in a graph, and what no longer matters once its variables are constants.

Where functions are inlined, every weight waits for the function's input, and the answer for every weight. As long as
weights are variables, that orders reads and writes; among constants it orders nothing, but it crosses every place
where the model could be cut. And each argument and answer of each function passes through operators of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence


def ordering_inputs(
    nodes: Mapping[str, Any], constants: Container[str], has_effect: Callable[[str], bool]
) -> dict[str, list[str]]:
    """The inputs of every operator, without control edges that order nothing.

    A control edge stays where the operator it comes from, or one of those that this one needs, has an effect besides
    its outputs (an assertion, a print). Edges with data always stay.

    Args:
        nodes: NodeDefs, by name; they are not changed.
        constants: names of those that become constants and so need nothing.
        has_effect: whether operators of a kind have an effect.
    """
    effective = _with_effect(nodes, constants, has_effect)
    return {
        name: []
        if name in constants
        else [each for each in node.input if not each.startswith("^") or each[1:] in effective]
        for name, node in nodes.items()
    }


def past_identities(
    nodes: Mapping[str, Any], inputs: Mapping[str, Sequence[str]], kept: Container[str]
) -> tuple[dict[str, list[str]], dict[str, str]]:
    """The inputs of every operator, without going through those that only pass a tensor on.

    Args:
        nodes: NodeDefs, by name; they are not changed.
        inputs: of every operator, as `ordering_inputs` gives them; an Identity that waits for another stays.
        kept: names of operators that stay, whatever they are.

    Returns:
        The inputs, and the tensor that each operator passes on which nobody needs now.
    """
    passing = {
        name: given[0]
        for name, given in inputs.items()
        if nodes[name].op == "Identity" and len(given) == 1 and name not in kept
    }
    passed = {name: _origin(name, passing) for name in passing}
    return {name: [_past(each, passed) for each in given] for name, given in inputs.items()}, passed


def operator_of(source: str) -> str:
    """The operator that an input names: ``^name``, ``name`` or ``name:k``."""
    return source.removeprefix("^").split(":")[0]


def _origin(name: str, passing: Mapping[str, str]) -> str:
    tensor = passing[name]
    while operator_of(tensor) in passing:
        tensor = passing[operator_of(tensor)]
    return tensor


def _past(source: str, passed: Mapping[str, str]) -> str:
    tensor = passed.get(operator_of(source), source)
    return f"^{operator_of(tensor)}" if source.startswith("^") else tensor


def _with_effect(nodes: Mapping[str, Any], constants: Container[str], has_effect: Callable[[str], bool]) -> set[str]:
    """Operators that have an effect or need one that has; a loop among them does no harm."""
    consumers: dict[str, list[str]] = {}
    found = []
    for name, node in nodes.items():
        if name in constants:
            continue
        if has_effect(node.op):
            found.append(name)
        for source in node.input:
            consumers.setdefault(operator_of(source), []).append(name)
    effective = set(found)
    while found:
        for name in consumers.get(found.pop(), ()):
            if name not in effective:
                effective.add(name)
                found.append(name)
    return effective
