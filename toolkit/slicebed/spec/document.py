"""YAML text to plain data that remembers where every key and value stands.

The node graph of ruamel.yaml is walked here rather than its constructed objects, because duplicate keys, tags and
aliases are no longer visible after construction.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, ReusedAnchorWarning, YAMLError
from ruamel.yaml.nodes import MappingNode, ScalarNode, SequenceNode

from slicebed.spec.problems import Mark, Problem, SpecErrors

if TYPE_CHECKING:
    from pathlib import Path

    from ruamel.yaml.nodes import Node

Location: TypeAlias = tuple[str | int, ...]

# An experiment of a thousand cuts is 20 kB; what is far beyond is not a spec, or is a bomb of aliases.
MAX_FILE_BYTES = 1 << 20
MAX_VALUES = 20_000
MAX_DEPTH = 16

_TAG = "tag:yaml.org,2002:"
_KNOWN_TAGS = frozenset(_TAG + kind for kind in ("map", "seq", "str", "int", "float", "bool", "null", "timestamp"))
_INT = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_FLOAT = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?", re.ASCII)


@dataclass(frozen=True)
class Document:
    """A parsed file.

    Attributes:
        path: the file, as it was named.
        data: its top mapping as plain Python values.
        key_marks: where the key of each location stands.
        value_marks: where the value of each location stands.
        problems: mistakes of the notation itself (duplicate keys, tags, keys that are not text).
    """

    path: Path
    data: dict[str, object]
    key_marks: dict[Location, Mark] = field(default_factory=dict)
    value_marks: dict[Location, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def key_mark(self, location: Location) -> Mark:
        """Where the key of ``location`` stands, or its value when it is an item of a list."""
        return self.key_marks.get(location) or self.value_mark(location)

    def value_mark(self, location: Location) -> Mark:
        """Where the value of ``location`` stands, or the nearest place around it."""
        while location:
            if location in self.value_marks:
                return self.value_marks[location]
            location = location[:-1]
        return self.value_marks.get((), Mark(1, 1))

    def place(self, mark: Mark) -> str:
        """A place in the file as an error line begins with it."""
        return f"{self.path}:{mark.line}:{mark.column}"


def read_document(path: Path) -> Document:
    """Read a YAML file whose top level is a mapping.

    Raises:
        SpecErrors: no such file, not readable, not UTF-8, not YAML, empty, not a mapping, too large or too deep.
    """
    root = _compose(path, _read_text(path))
    if root is None:
        raise _error(path, Mark(1, 1), "the file is empty", "a mapping of keys and values")
    if not isinstance(root, MappingNode):
        raise _error(path, _mark(root), "the file is not a mapping", "keys and values, one key a line")
    document = Document(path, {})
    walker = _Walker(document)
    data = walker.plain(root, (), 0)
    assert isinstance(data, dict)  # noqa: S101 - a MappingNode always becomes a dict; this tells mypy so
    document.data.update(data)
    return document


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise _error(path, Mark(1, 1), "no such file", "a YAML file") from None
    except OSError as error:
        raise _error(path, Mark(1, 1), f"cannot be read: {error.strerror}", "a readable YAML file") from None
    if len(raw) > MAX_FILE_BYTES:
        raise _error(path, Mark(1, 1), "the file is too large", f"at most {MAX_FILE_BYTES} bytes")
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = raw[: error.start]
        mark = Mark(before.count(b"\n") + 1, error.start - (before.rfind(b"\n") + 1) + 1)
        raise _error(path, mark, f"byte 0x{raw[error.start]:02x} is not UTF-8", "UTF-8 text") from None


def _compose(path: Path, text: str) -> Node | None:
    yaml = YAML(typ="rt", pure=True)
    try:
        with warnings.catch_warnings():
            # YAML allows an anchor to be set again; the last one before an alias counts.
            warnings.simplefilter("ignore", ReusedAnchorWarning)
            node: Node | None = yaml.compose(text)
    except RecursionError:
        raise _error(path, Mark(1, 1), "nested too deep", f"at most {MAX_DEPTH} levels") from None
    except MarkedYAMLError as error:
        place = error.problem_mark or error.context_mark
        mark = Mark(1, 1) if place is None else Mark(place.line + 1, place.column + 1)
        what = error.problem or error.context or "it cannot be parsed"
        if "'\\t'" in what:
            raise _error(path, mark, "a tab is used for indentation", "spaces") from None
        raise _error(path, mark, f"not YAML: {what}", "YAML 1.2") from None
    except YAMLError as error:
        position = getattr(error, "position", 0)
        before = text[:position]
        mark = Mark(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)
        raise _error(path, mark, f"not YAML: {str(error).splitlines()[0]}", "YAML 1.2") from None
    return node


def _error(path: Path, mark: Mark, what: str, allowed: str) -> SpecErrors:
    return SpecErrors([Problem(mark, what, allowed).line(path)])


def _mark(node: Node) -> Mark:
    return Mark(node.start_mark.line + 1, node.start_mark.column + 1)


class _Walker:
    """Turns nodes into plain values and notes where each stands; aliases are followed, and counted each time."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._values = 0

    def plain(self, node: Node, location: Location, depth: int) -> object:
        mark = _mark(node)
        self._values += 1
        if self._values > MAX_VALUES:
            what = "too many values, counting those repeated by aliases"
            raise _error(self._document.path, mark, what, f"at most {MAX_VALUES}")
        if depth > MAX_DEPTH:
            raise _error(self._document.path, mark, "nested too deep", f"at most {MAX_DEPTH} levels")
        self._document.value_marks[location] = mark
        if str(node.tag) not in _KNOWN_TAGS:
            self._document.problems.append(Problem(mark, f'tag "{node.tag}"', "values without a tag"))
        if isinstance(node, MappingNode):
            return self._mapping(node, location, depth)
        if isinstance(node, SequenceNode):
            return [self.plain(item, (*location, index), depth + 1) for index, item in enumerate(node.value)]
        return _scalar(node.value, str(node.tag).removeprefix(_TAG))

    def _mapping(self, node: MappingNode, location: Location, depth: int) -> dict[str, object]:
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            mark = _mark(key_node)
            if not isinstance(key_node, ScalarNode):
                self._document.problems.append(Problem(mark, "a key is not text", "a name followed by a colon"))
                continue
            key: str = key_node.value
            if key in data:
                first = self._document.key_marks[(*location, key)]
                what = f'duplicate key "{key}", first given in line {first.line}'
                self._document.problems.append(Problem(mark, what, "each key once"))
                continue
            self._document.key_marks[(*location, key)] = mark
            data[key] = self.plain(value_node, (*location, key), depth + 1)
            if isinstance(value_node, ScalarNode) and not value_node.value:
                # The parser places an empty value at whatever comes next.
                self._document.value_marks[(*location, key)] = mark
        return data


def _scalar(text: str, kind: str) -> object:
    """The value of a plain scalar; what is not a plain decimal number stays text, to be refused where it is read."""
    if kind == "null":
        return None
    if kind == "bool" and text.lower() in {"true", "false"}:
        return text.lower() == "true"
    if kind == "int" and _INT.fullmatch(text):
        return int(text)
    if kind == "float" and _FLOAT.fullmatch(text):
        return float(text)
    return text
