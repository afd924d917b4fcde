"""Shapes of every node's outputs, for a batch of one and of two: a dimension that differs is the batch's."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef import shapes
from slicebed_agent.model.graphdef.errors import ShapeError, UnsupportedModelError
from slicebed_agent.model.graphdef.values import Value, product, shaped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed_agent.model.graphdef.attributes import Dims
    from slicebed_agent.model.graphdef.restrict import Part
    from slicebed_agent.model.graphdef.wire import Node, NodeFile

# What a shape function raises on inputs and attributes that no valid graph has.
_MISFIT: Final = (ShapeError, IndexError, ValueError, ZeroDivisionError)


@dataclass(slots=True)
class Made:
    """What nodes make that have the operator, the attributes and the shapes of their inputs in common: one for all.

    Attributes:
        inputs: for one frame.
        one, two: the outputs, for one frame and for two.
    """

    inputs: Sequence[Value]
    one: Sequence[Value]
    two: Sequence[Value]


def infer(file: NodeFile, part: Part, fed: Mapping[str, Dims]) -> dict[str, Made]:
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
    made = {name: Made((), [shaped(_closed(dims, 1))], [shaped(_closed(dims, 2))]) for name, dims in fed.items()}
    # Image models repeat themselves: of NASNet-Large's 2,846 nodes with inputs, 162 differ in what decides shapes.
    known: dict[tuple[object, ...], Made] = {}
    for name in part.order:
        if name in fed:
            continue
        node = file.nodes[name]
        sources = part.sources[name]
        try:
            inputs = [made[source].one[number] for source, number in sources]
            doubled = [made[source].two[number] for source, number in sources]
        except IndexError:
            raise _too_few_outputs(file, node) from None
        # Attributes that are the same are the same mapping: see `wire.Node`.
        key = (node.op, id(node.attributes), *inputs, *doubled)
        found = known.get(key)
        if found is None:
            found = known[key] = _made(file, node, inputs, doubled)
        made[name] = found
    return made


def _made(file: NodeFile, node: Node, inputs: Sequence[Value], doubled: Sequence[Value]) -> Made:
    declared = node.shapes("_output_shapes")
    one = _outputs(file, node, declared, inputs, 1)
    if doubled == inputs:
        return Made(inputs, one, one)
    try:
        return Made(inputs, one, _outputs(file, node, declared, doubled, 2))
    except UnsupportedModelError:
        return Made(inputs, one, one)


def _too_few_outputs(file: NodeFile, node: Node) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{node.name} takes an output that its source does not have",
        where=f"{file.path} at byte {node.offset}",
        mend="the file is damaged, or an operator declares too few shapes",
    )


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
