"""Couper's Model Slicer over TensorFlow's own graph, as its publication describes the program.

Couper (SEC 2019), sections 5.1 and 6: "approximately 50 lines" of Python on GraphDef, `Session.graph.get_operations`,
`Operation.inputs` and `.type`. The walk is that of `slicebed_agent.model.cuts.couper`, which counts 52 and 34 split
points of its graphs as published, here over `tf.Operation` instead of Slicebed's graph; so the difference measured is
that of reading a file and of importing it. Operators on constants are not told from others: the publication knows none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

_IGNORED: Final = frozenset({"Identity", "Const"})


def import_graph(tensorflow: Any, path: Path) -> Any:
    """Read, parse and import a frozen GraphDef into a tf.Graph of its own."""
    message = parse(tensorflow, path)
    graph = tensorflow.Graph()
    with graph.as_default():
        tensorflow.import_graph_def(message, name="")
    return graph


def parse(tensorflow: Any, path: Path) -> Any:
    """Read the file and parse it with TensorFlow's protobuf class."""
    message = tensorflow.compat.v1.GraphDef()
    message.ParseFromString(path.read_bytes())
    return message


def walk(graph: Any) -> list[str]:
    """The operations after which the model may be cut: from the last to the first, those that alone are needed."""
    operations = [each for each in graph.get_operations() if each.type not in _IGNORED]
    points: list[str] = []
    needed: set[str] = set()
    for rank in range(len(operations) - 1, 0, -1):
        operation = operations[rank]
        needed.add(operation.name)
        if len(needed) == 1 and rank < len(operations) - 1:
            points.append(operation.name)
        needed.discard(operation.name)
        needed.update(tensor.op.name for tensor in operation.inputs if tensor.op.type not in _IGNORED)
    return points[::-1]
