"""The nodes of a frozen GraphDef, read from its mapped file; the contents of weights are never touched.

A pure reading of graph.proto and node_def.proto: what the nodes mean is left to others. A file that ends exactly
between two nodes is a whole protobuf message; that it is truncated shows only when an input is missing.
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Final

from slicebed_agent.model.graphdef import attributes
from slicebed_agent.model.graphdef.attributes import Attribute, Stored
from slicebed_agent.model.graphdef.errors import ModelFileError, WireError
from slicebed_agent.model.graphdef.protobuf import BYTES, VARINT, fields, text, varint

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from slicebed_agent.model.graphdef.attributes import Dims, TensorValue
    from slicebed_agent.model.graphdef.protobuf import Buffer, FileBytes

MAX_FILE_BYTES: Final = (1 << 31) - 1  # protobuf itself refuses more
# A longer attribute is a weight (or a foreign list): it stays in the file, its contents unread.
LARGE_BYTES: Final = 512
_NODE, _LIBRARY, _VERSIONS = 1, 2, 4
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
Span = tuple[int, int]
_NONE: Final = Stored(b"", Attribute())
# Tags of a NodeDef's fields, all length-delimited, and of an entry of its map of attributes.
_NAME, _OP, _INPUT, _ATTRIBUTE = 0x0A, 0x12, 0x1A, 0x2A
_KEY, _VALUE = 0x0A, 0x12
_LAST_ONE_BYTE: Final = 0x7F  # a length up to this takes one byte
_CONTROL: Final = "^"


@dataclass(slots=True)
class Node:
    """One node.

    Attributes:
        name: unique.
        op: ``Conv2D``, ``Const``, ...
        inputs: the tensors that it takes, as (node, output's number).
        controls: nodes that must run before it, without a tensor from them.
        attributes: by name; where they are the same in several nodes, it is one mapping.
        offset: where the node begins in the file, bytes.
        large: of attributes that were left in the file, where the AttrValue begins and ends there.
    """

    name: str
    op: str
    inputs: tuple[tuple[str, int], ...]
    controls: tuple[str, ...]
    attributes: Mapping[str, Stored]
    offset: int
    large: Mapping[str, Span]

    def attribute(self, key: str) -> Attribute:
        """An attribute; an empty one where the node has none of this name.

        Raises:
            WireError: malformed.
        """
        return self.attributes.get(key, _NONE).read()

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
        rest: library and versions, serialised as fields of a GraphDef.
    """

    path: Path
    nodes: dict[str, Node]
    functions: frozenset[str]
    rest: bytes


def tensor_of(name: str) -> tuple[str, int]:
    """The node and the output's number of ``node`` or ``node:k``."""
    node, colon, number = name.rpartition(":")
    return (node, int(number)) if colon and number.isdecimal() and len(number) < 10 else (name, 0)


def read_nodes(path: Path) -> NodeFile:
    """Read the nodes of a frozen GraphDef.

    Args:
        path: of the file; it must not be cut short by somebody else meanwhile, for it is mapped.

    Raises:
        ModelFileError: the file cannot be read, is larger than 2 GB, truncated, or no GraphDef; with the offset.
    """
    try:
        with path.open("rb") as file, mapped(file, path) as data:
            return read_mapped(data, path)
    except OSError as error:
        raise ModelFileError(f"cannot read it: {error.strerror}", where=str(path), mend=_MEND) from error


def mapped(file: BinaryIO, path: Path) -> mmap.mmap:
    """Map an open file.

    Raises:
        ModelFileError: it is empty, or larger than 2 GB.
        OSError: it cannot be mapped.
    """
    size = file.seek(0, 2)
    if size > MAX_FILE_BYTES:
        raise ModelFileError(
            f"{size} bytes, and a protobuf message holds {MAX_FILE_BYTES} at most",
            where=str(path),
            mend="give the SavedModel folder or .keras file that it was made from",
        )
    if not size:
        raise ModelFileError("the file is empty", where=str(path), mend=_MEND)
    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def read_mapped(data: mmap.mmap, path: Path) -> NodeFile:
    """Read the nodes from a mapped file.

    Raises:
        ModelFileError: the file is truncated, or no GraphDef; with the offset.
    """
    try:
        return _Reader(data).read(path)
    except WireError as error:
        raise ModelFileError(
            f"no whole GraphDef: {error.what}",
            where=f"{path} at byte {error.position} of {len(data)}",
            mend=_foreign(data) or f"the file is truncated, or something else; {_MEND}",
        ) from error


def _foreign(data: mmap.mmap) -> str | None:
    for magic, what, mend in _FOREIGN:
        if data[: len(magic)] == magic:
            return f"the file is {what}: {mend}"
    return None


class _Reader:
    """Reads the nodes of one file; what many nodes have in common is read, decoded and kept once.

    Of the 14,449 attributes of NASNet-Large, 260 differ.
    """

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._entries: dict[bytes, tuple[str, Stored]] = {}
        self._left: dict[tuple[str, Attribute], Stored] = {}
        self._maps: dict[bytes | tuple[int, ...], dict[str, Stored]] = {}

    def read(self, path: Path) -> NodeFile:
        nodes: dict[str, Node] = {}
        functions: set[str] = set()
        rest = b""
        data, position = self._data, 0
        for number, kind, _, start, end in fields(data, 0, len(data)):
            if _TOP.get(number) != kind:
                raise WireError(f"field {number} of wire type {kind} is none of a GraphDef", start)
            if number == _NODE:
                node = self._node(start, end)
                if node.name in nodes:
                    raise WireError(f"a second node is named {node.name!r}", start)
                nodes[node.name] = node
            elif number in {_LIBRARY, _VERSIONS}:
                rest += data[position:end]
                if number == _LIBRARY:
                    functions.update(_functions(data, start, end))
            position = end
        if not nodes:
            raise WireError("it holds no node", 0)
        return NodeFile(path, nodes, frozenset(functions), rest)

    def _node(self, start: int, end: int) -> Node:
        """Read one node; a small one from a copy, which is read faster than the mapping."""
        small = end - start <= LARGE_BYTES
        offset = start if small else 0
        try:
            return self._parse(self._data[start:end] if small else self._data, start - offset, end - offset, offset)
        except WireError as error:
            raise WireError(error.what, offset + error.position) from error
        except UnicodeDecodeError as error:
            raise WireError("a name is not UTF-8", start) from error

    def _parse(self, buffer: FileBytes, start: int, end: int, offset: int) -> Node:
        """A NodeDef. The loop of `protobuf.fields`, unrolled: this is run for every node."""
        name = op = ""
        inputs: list[tuple[str, int]] = []
        controls: list[str] = []
        found: dict[str, Stored] = {}
        large: dict[str, Span] = {}
        position = start
        while position < end:
            tag = buffer[position]
            if tag == _ATTRIBUTE:
                more, position = self._attributes(buffer, position, end, large)
                found = {**found, **more} if found else more
                continue
            if tag & 0x87 != BYTES or tag < 8:  # no length-delimited field of number 1 to 15: a later one, or broken
                position = next(fields(buffer, position, end))[-1]
                continue
            first, position = _span(buffer, position + 1, end)
            if tag == _INPUT:
                taken = str(buffer[first:position], "utf-8")
                if taken[:1] == _CONTROL:
                    controls.append(taken[1:])
                else:
                    inputs.append(tensor_of(taken) if ":" in taken else (taken, 0))
            elif tag == _NAME:
                name = str(buffer[first:position], "utf-8")
            elif tag == _OP:
                op = str(buffer[first:position], "utf-8")
        if not name or not op:
            raise WireError("a node has no name or no operator", start)
        return Node(name, op, tuple(inputs), tuple(controls), found, offset + start, large)

    def _attributes(
        self, buffer: FileBytes, position: int, end: int, large: dict[str, Span]
    ) -> tuple[dict[str, Stored], int]:
        """The entries of the map of attributes that follow each other, and the position behind them."""
        begin = position
        copied = isinstance(buffer, bytes)
        if copied and (known := self._maps.get(buffer[begin:end])) is not None:
            return known, end
        found: dict[str, Stored] = {}
        while position < end and buffer[position] == _ATTRIBUTE:
            first, position = _span(buffer, position + 1, end)
            key, stored = self._entry(buffer, first, position, large)
            found[key] = stored
        # What `_entry` gives lives as long as this reader: nothing else gets its id.
        same = buffer[begin:position] if copied else tuple(map(id, found.values()))
        return self._maps.setdefault(same, found), position

    def _entry(self, buffer: FileBytes, start: int, end: int, large: dict[str, Span]) -> tuple[str, Stored]:
        """An entry of the map; a large one is decoded where it lies, and its place noted."""
        if end - start > LARGE_BYTES:
            key, first, last = _parts(buffer, start, end)
            large[key] = first, last
            decoded = attributes.decode_at(buffer, first, last)
            return key, self._left.setdefault((key, decoded), Stored(b"", decoded))
        raw = buffer[start:end]
        known = self._entries.get(raw)
        if known is None:
            try:
                key, first, last = _parts(raw, 0, len(raw))
            except WireError as error:
                raise WireError(error.what, start + error.position) from error
            known = self._entries[raw] = key, Stored(raw[first:last])
        return known


def _span(buffer: Buffer, position: int, end: int) -> tuple[int, int]:
    """Where the bytes of a length-delimited field lie; its length is at `position`."""
    if position < end and (length := buffer[position]) <= _LAST_ONE_BYTE:
        first = position + 1
    else:
        length, first = varint(buffer, position, end)
    if first + length > end:
        raise WireError(f"a part of a node runs {first + length - end} bytes over its end", position)
    return first, first + length


def _parts(buffer: Buffer, start: int, end: int) -> tuple[str, int, int]:
    """Of an entry of the map of attributes its key, and where its value lies."""
    key, value = "", (start, start)
    position = start
    while position < end:
        begin = position
        tag = buffer[position]
        first, position = _span(buffer, position + 1, end)
        if tag == _KEY:
            key = text(buffer, first, position)
        elif tag == _VALUE:
            value = first, position
        else:
            raise WireError("an attribute is malformed", begin)
    return key, *value


def _functions(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    """Names in a FunctionDefLibrary: function = 1, its signature = 1, that one's name = 1."""
    for function in _first(data, start, end):
        for signature in _first(data, *function):
            for name in _first(data, *signature):
                yield text(data, *name)


def _first(data: mmap.mmap, start: int, end: int) -> Iterator[Span]:
    """Where the length-delimited fields of number 1 lie in a message."""
    return ((first, last) for number, kind, _, first, last in fields(data, start, end) if (number, kind) == (1, BYTES))
