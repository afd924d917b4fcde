"""Shapes and work of every node, for a batch of one and of two: a dimension that differs is the batch's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef import shapes
from slicebed_agent.model.graphdef.errors import ShapeError, UnsupportedModelError
from slicebed_agent.model.graphdef.values import Value, product, shaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed_agent.model.graphdef.attributes import Dims
    from slicebed_agent.model.graphdef.restrict import Part
    from slicebed_agent.model.graphdef.wire import Node, NodeFile

Values = dict[str, list[Value]]
# What a shape function raises on inputs and attributes that no valid graph has.
_MISFIT: Final = (ShapeError, IndexError, ValueError, ZeroDivisionError)


def infer(file: NodeFile, part: Part, fed: Mapping[str, Dims]) -> tuple[Values, Values]:
    """The outputs of every needed node, for one frame and for two.

    Where the second run contradicts itself (a constant shape that fixes the batch to one), the node's outputs are
    those of one frame: that is what it makes.

    Args:
        file: the nodes.
        part: which of them, in order.
        fed: shape of each input, by node; None is the batch.

    Raises:
        UnsupportedModelError: a shape function refuses and the node does not declare its shapes.
        WireError: an attribute is malformed.
    """
    one: Values = {}
    two: Values = {}
    for name in part.order:
        node = file.nodes[name]
        if name in fed:
            one[name], two[name] = [shaped(_closed(fed[name], 1))], [shaped(_closed(fed[name], 2))]
            continue
        declared = node.shapes("_output_shapes")
        inputs = _inputs(file, part, one, name)
        one[name] = _outputs(file, node, declared, inputs, 1)
        if name not in part.depends:
            two[name] = one[name]
            continue
        doubled = _inputs(file, part, two, name)
        try:
            two[name] = one[name] if doubled == inputs else _outputs(file, node, declared, doubled, 2)
        except UnsupportedModelError:
            two[name] = one[name]
    return one, two


def _inputs(file: NodeFile, part: Part, values: Values, name: str) -> list[Value]:
    try:
        return [values[source][number] for source, number in part.sources[name]]
    except IndexError:
        raise UnsupportedModelError(
            f"{name} takes an output that its source does not have",
            where=f"{file.path} at byte {file.nodes[name].offset}",
            mend="the file is damaged, or an operator declares too few shapes",
        ) from None


def _closed(dims: Dims, batch: int) -> Dims:
    return tuple(batch if size is None and not place else size for place, size in enumerate(dims))


def _outputs(
    file: NodeFile, node: Node, declared: Sequence[Dims | None], inputs: Sequence[Value], batch: int
) -> list[Value]:
    function = shapes.FUNCTIONS.get(node.op)
    found: list[Value] = []
    if function is not None:
        try:
            found = function(node, inputs)
        except _MISFIT as error:
            if not declared:
                raise UnsupportedModelError(
                    f"{node.name} ({node.op}): {error or 'inputs and attributes do not fit'}",
                    where=f"{file.path} at byte {node.offset}",
                    mend="give the input's shape; shapes that depend on the data cannot be sliced",
                ) from error
    if not declared:
        return found
    return [
        _merged(dims, found[place] if place < len(found) else None, batch) for place, dims in enumerate(declared)
    ] + found[len(declared) :]


def _merged(declared: Dims | None, found: Value | None, batch: int) -> Value:
    """The declared shape; what it leaves open, from the shape function, or else the batch in the first place."""
    if declared is None:
        return found or Value(None, None)
    if found is None or found.dims is None or len(found.dims) != len(declared):
        return shaped(_closed(declared, batch))
    if all(size is None or size == inner for size, inner in zip(declared, found.dims, strict=True)):
        return found
    dims = tuple(inner if size is None else size for size, inner in zip(declared, found.dims, strict=True))
    return Value(dims, product(dims))
