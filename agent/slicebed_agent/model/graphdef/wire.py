"""The nodes of a frozen GraphDef, read from its mapped file; the contents of weights are never touched.

A pure reading of graph.proto and node_def.proto: what the nodes mean is left to `read`. A file that ends exactly
between two nodes is a whole protobuf message; that it is truncated shows only when an input is missing.
"""

from __future__ import annotations

import contextlib
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from slicebed_agent.model.graphdef import attributes
from slicebed_agent.model.graphdef.attributes import Attribute, TensorValue
from slicebed_agent.model.graphdef.errors import ModelFileError, WireError
from slicebed_agent.model.graphdef.protobuf import BYTES, VARINT, fields, text, varint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slicebed_agent.model.graphdef.attributes import Dims
    from slicebed_agent.model.graphdef.protobuf import Buffer, Field

MAX_FILE_BYTES: Final = (1 << 31) - 1  # protobuf itself refuses more
# A longer attribute is a weight (or a foreign list): it is decoded where it lies, without its contents.
_LARGE_BYTES: Final = 8192
_NODE, _LIBRARY = 1, 2
# GraphDef: node, library, version, versions, debug_info, with their wire types.
_TOP: Final = {1: BYTES, 2: BYTES, 3: VARINT, 4: BYTES, 5: BYTES}
_FOREIGN: Final = (
    (b"\x89HDF", "an HDF5 file", "give the .keras file or the SavedModel folder"),
    (b"PK\x03\x04", "a zip archive", "a .keras file keeps its ending"),
    (b"\x1f\x8b", "compressed", "unpack it first"),
    (b"node", "a GraphDef in text form", "write it in binary form (write_graph with as_text=False)"),
    (b"\x08\x01\x12", "a SavedModel", "give the folder that holds it"),
    (b"version https://git-lfs", "a pointer of Git LFS", "fetch the file itself"),
)
_MEND: Final = "give a frozen TensorFlow GraphDef (.pb)"
_NONE: Final = Attribute()


@dataclass(slots=True)
class Node:
    """One node as the file has it.

    Attributes:
        name: unique.
        op: ``Conv2D``, ``Const``, ...
        inputs: as written: ``node``, ``node:k``, ``^node``.
        attributes: raw AttrValues until they are asked for.
        offset: where the node begins in the file, bytes.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    attributes: dict[str, bytes | Attribute]
    offset: int

    def attribute(self, key: str) -> Attribute:
        """An attribute; an empty one where the node has none of this name.

        Raises:
            WireError: malformed.
        """
        found = self.attributes.get(key, _NONE)
        if isinstance(found, bytes):
            found = self.attributes[key] = attributes.decode(found)
        return found

    def number(self, key: str, default: int = 0) -> int:
        """An int, bool or dtype."""
        found = self.attribute(key).number
        return default if found is None else found

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of ints, empty where it is missing."""
        return self.attribute(key).numbers

    def words(self, key: str, default: str) -> str:
        """A string."""
        found = self.attribute(key).words
        return default if found is None else attributes.words(found)

    def shapes(self, key: str) -> tuple[Dims | None, ...]:
        """A shape (as a list of one) or a list of shapes."""
        return self.attribute(key).shapes

    def tensor(self, key: str) -> TensorValue | None:
        """A tensor."""
        return self.attribute(key).tensor


@dataclass(frozen=True)
class NodeFile:
    """What the file holds.

    Attributes:
        path: of the file.
        nodes: by name, in the file's order.
        functions: names of the functions in its library.
    """

    path: Path
    nodes: dict[str, Node]
    functions: frozenset[str]


def read_nodes(path: Path) -> NodeFile:
    """Read the nodes of a frozen GraphDef.

    Args:
        path: of the file; it must not be cut short by somebody else meanwhile, for it is mapped.

    Raises:
        ModelFileError: the file cannot be read, is larger than 2 GB, truncated, or no GraphDef; with the offset.
    """
    with _mapped(path) as data:
        try:
            return _read(path, data)
        except WireError as error:
            raise ModelFileError(
                f"no whole GraphDef: {error.what}",
                where=f"{path} at byte {error.position} of {len(data)}",
                mend=_foreign(data) or f"the file is truncated, or something else; {_MEND}",
            ) from error


@contextlib.contextmanager
def _mapped(path: Path) -> Iterator[mmap.mmap]:
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size > MAX_FILE_BYTES:
                raise ModelFileError(
                    f"{size} bytes, and a protobuf message holds {MAX_FILE_BYTES} at most",
                    where=str(path),
                    mend="give the SavedModel folder or .keras file that it was made from",
                )
            if not size:
                raise ModelFileError("the file is empty", where=str(path), mend=_MEND)
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                yield data
    except OSError as error:
        raise ModelFileError(f"cannot read it: {error.strerror}", where=str(path), mend=_MEND) from error


def _foreign(data: mmap.mmap) -> str | None:
    for magic, what, mend in _FOREIGN:
        if data[: len(magic)] == magic:
            return f"the file is {what}: {mend}"
    return None


def _read(path: Path, data: mmap.mmap) -> NodeFile:
    nodes: dict[str, Node] = {}
    functions: set[str] = set()
    for field in fields(data, 0, len(data)):
        if _TOP.get(field.number) != field.kind:
            raise WireError(f"field {field.number} of wire type {field.kind} is none of a GraphDef", field.start)
        if field.number == _NODE:
            node = _node(data, field)
            if node.name in nodes:
                raise WireError(f"a second node is named {node.name!r}", field.start)
            nodes[node.name] = node
        elif field.number == _LIBRARY:
            functions.update(_functions(data, field))
    if not nodes:
        raise WireError("it holds no node", 0)
    return NodeFile(path, nodes, frozenset(functions))


def _node(data: mmap.mmap, field: Field) -> Node:
    """Read one node; a small one from a copy, which is read faster than the mapping."""
    if field.end - field.start > _LARGE_BYTES:
        return _parse(data, field.start, field.end, 0)
    try:
        return _parse(data[field.start : field.end], 0, field.end - field.start, field.start)
    except WireError as error:
        raise WireError(error.what, field.start + error.position) from error


def _parse(buffer: Buffer, start: int, end: int, offset: int) -> Node:
    """A NodeDef. The loop of `protobuf.fields`, unrolled: half of the time to read a graph is spent here."""
    name = op = ""
    inputs: list[str] = []
    found: dict[str, bytes | Attribute] = {}
    position = start
    while position < end:
        begin = position
        tag = buffer[position]
        if tag & 0x87 != BYTES or tag < 8:  # no length-delimited field of number 1 to 15: later TensorFlow's, or broken
            position = next(fields(buffer, begin, end)).end
            continue
        first, position = _span(buffer, position + 1, end)
        if tag == 0x2A:
            key, value = _attribute(buffer, first, position)
            found[key] = value
        elif tag == 0x1A:
            inputs.append(text(buffer, first, position))
        elif tag == 0x0A:
            name = text(buffer, first, position)
        elif tag == 0x12:
            op = text(buffer, first, position)
    if not name or not op:
        raise WireError("a node has no name or no operator", start)
    return Node(name, op, tuple(inputs), found, offset + start)


def _span(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """Where the bytes of a length-delimited field lie; its length is at `position`."""
    if position < end and (length := buffer[position]) < 0x80:
        first = position + 1
    else:
        length, first = varint(buffer, position, end)
    if first + length > end:
        raise WireError(f"a part of a node runs {first + length - end} bytes over its end", position)
    return first, first + length


def _attribute(buffer: Buffer, start: int, end: int) -> tuple[str, bytes | Attribute]:
    """An entry of the map of attributes."""
    key = ""
    value: bytes | Attribute = b""
    position = start
    while position < end:
        begin = position
        tag = buffer[position]
        first, position = _span(buffer, position + 1, end)
        if tag == 0x0A:
            key = text(buffer, first, position)
        elif tag != 0x12:
            raise WireError("an attribute is malformed", begin)
        elif position - first <= _LARGE_BYTES:
            value = buffer[first:position]
        else:
            value = attributes.decode_at(buffer, first, position)
    return key, value


def _functions(data: mmap.mmap, library: Field) -> Iterator[str]:
    """Names in a FunctionDefLibrary: function = 1, its signature = 1, that one's name = 1."""
    for function in fields(data, library.start, library.end):
        if function.number != 1 or function.kind != BYTES:
            continue
        for signature in fields(data, function.start, function.end):
            if signature.number != 1 or signature.kind != BYTES:
                continue
            for part in fields(data, signature.start, signature.end):
                if part.number == 1 and part.kind == BYTES:
                    yield text(data, part.start, part.end)
