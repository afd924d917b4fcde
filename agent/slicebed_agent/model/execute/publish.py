"""True slices: a folder that holds what one host computes, with the weights of that alone, and says what it is.

``graph.pb`` is a frozen GraphDef that any TensorFlow reads; ``manifest.json`` names its inputs and outputs, the model
it was cut from, and the hash of both files. No TensorFlow is needed to write one, nor more memory than its structure.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.execute import encode, tensors
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.execute.frozen import FrozenGraph
from slicebed_agent.model.execute.nodes import node_of
from slicebed_agent.model.graphdef.read import read_graph

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from slicebed_agent.model.execute.nodes import Node, Weight
    from slicebed_agent.model.execute.slice import Slice
    from slicebed_agent.model.graph import Graph as ModelGraph
    from slicebed_agent.model.graph import Tensor

FORMAT: Final = 1
GRAPH: Final = "graph.pb"
MANIFEST: Final = "manifest.json"
_CHUNK_BYTES: Final = 1 << 20


class SliceFolderError(AgentError):
    """A slice's folder is not as it was written: a file is missing, truncated or edited."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Port:
    """A tensor that enters or leaves a published slice.

    Attributes:
        name: ``operator:k`` in the whole model; neighbours name the same tensor so.
        tensor: ``operator:k`` in the slice's own graph.
        dtype: as numpy names it.
        shape: None in it is a free dimension, the batch; None where not even the number of dimensions is known.
    """

    name: str
    tensor: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a published slice says of itself.

    Attributes:
        inputs, outputs: in the order in which arrays are given and returned.
        weights_bytes: of all weights in the graph, as they are held when it runs.
        graph_bytes: size of the graph's file.
        graph_sha256: its hash.
        model: the card of the model that it was cut from.
    """

    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    weights_bytes: int
    graph_bytes: int
    graph_sha256: str
    model: Mapping[str, Any]


def write_slice(
    path: Path,
    feeds: Sequence[str],
    fetches: Sequence[str],
    folder: Path,
    *,
    card: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write what lies between two boundaries to a folder of its own: wholly, or not at all.

    Args:
        path: the frozen GraphDef of the whole model.
        feeds: tensors (``operator:k``) that the slice is given.
        fetches: tensors that it returns.
        folder: must not exist yet, or be empty.
        card: the model's card as plain data; its ``inputs`` and ``outputs`` (each with a ``name``) are the model's.

    Raises:
        ModelFileError: the file is truncated, foreign or too large.
        UnsupportedModelError: what it holds cannot be sliced.
        AgentConfigError: no such tensors, the fetches need more than the feeds, or the folder is not empty.
        AgentError: it cannot be written.
    """
    graph = FrozenGraph(path)
    try:
        whole = read_graph(path, inputs=_names(card, "inputs"), outputs=_names(card, "outputs"))
        known = whole.tensors()
        for name in (*feeds, *fetches):
            if name not in known:
                raise AgentConfigError(
                    f"no tensor {name!r} between input and output", where=str(path), mend="take names from the cuts"
                )
        plan = _Plan(graph, feeds, fetches)
        inputs = tuple(plan.port(known[name]) for name in feeds)
        outputs = tuple(plan.port(known[name]) for name in fetches)
        return _write_folder(folder, plan, (inputs, outputs, plan.weights_bytes(whole)), card or {})
    finally:
        graph.close()


def _names(card: Mapping[str, Any] | None, key: str) -> list[str] | None:
    return [each["name"] for each in card[key]] if card and key in card else None


class _Plan:
    """Which nodes a slice holds, and under which names its inputs are placeholders."""

    def __init__(self, graph: FrozenGraph, feeds: Sequence[str], fetches: Sequence[str]) -> None:
        self.graph = graph
        fed = frozenset(feeds)
        computed = [name for name in fetches if name not in fed]
        if computed:
            graph.between(fed, computed)
        self.nodes = graph.upstream(computed, fed)
        self._names = {node.name for node in self.nodes}
        taken = set(self._names)
        self.placeholders: dict[str, str] = {}
        for name in feeds:
            operator, _, index = name.rpartition(":")
            chosen = operator if index == "0" else f"{operator}_output_{index}"
            while chosen in taken:
                chosen += "_fed"
            taken.add(chosen)
            self.placeholders[name] = chosen

    def weights_bytes(self, whole: ModelGraph) -> int:
        held = (whole.constants[node.name] for node in self.nodes if node.name in whole.constants)
        return sum(constant.bytes for constant in held if constant.is_parameter)

    def port(self, tensor: Tensor) -> Port:
        own = self.placeholders.get(tensor.name)
        shape = None if tensor.shape is None else tuple(tensor.shape)
        return Port(tensor.name, tensor.name if own is None else f"{own}:0", tensor.dtype, shape)

    def rewired(self, node: Node) -> list[str]:
        inputs = [f"{self.placeholders[each]}:0" if each in self.placeholders else each for each in node.inputs]
        return inputs + [f"^{each}" for each in node.controls if each in self._names]


def _write_folder(
    folder: Path, plan: _Plan, told: tuple[tuple[Port, ...], tuple[Port, ...], int], card: Mapping[str, Any]
) -> Manifest:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise AgentConfigError("it exists already", where=str(folder), mend="give another folder, or remove this one")
    partial: Path | None = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
        with (partial / GRAPH).open("wb") as file:
            hashed = _Hashed(file)
            _write_graph(plan, told[0], hashed)
            _to_disk(file)
        manifest = Manifest(*told, hashed.bytes, hashed.sha256, card)
        with (partial / MANIFEST).open("wb") as file:
            file.write(_manifest_text(manifest))
            _to_disk(file)
        partial.chmod(0o755)
        partial.rename(folder)
    except OSError as error:
        raise AgentError(
            f"cannot write it: {error.strerror}", where=str(folder), mend="check space and owner"
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
    return manifest


def _to_disk(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())


class _Hashed:
    """A file that is hashed while it is written."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file, self._hash, self.bytes = file, hashlib.sha256(), 0

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self._hash.update(data)
        self.bytes += len(data)

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()


def _write_graph(plan: _Plan, inputs: Sequence[Port], file: _Hashed) -> None:
    for port in inputs:
        file.write(encode.placeholder(node_of(port.tensor), tensors.CODES[port.dtype], port.shape))
    for node in plan.nodes:
        if node.weight is None:
            file.write(encode.node(node.name, node.op, plan.rewired(node), node.attributes))
        else:
            _write_weight(plan.graph, node, node.weight, file)
    file.write(plan.graph.carried)


def _write_weight(graph: FrozenGraph, node: Node, weight: Weight, file: _Hashed) -> None:
    """The same bytes as `encode.node` would make of a constant, with its values passed from file to file."""
    tensor = encode.tensor_head(weight.code, weight.dims, weight.length)
    value = encode.header(8, len(tensor) + weight.length) + tensor
    entry = encode.message(1, b"value") + encode.header(2, len(value) + weight.length) + value
    begin = encode.node_body(node.name, node.op, (), node.attributes)
    begin += encode.header(5, len(entry) + weight.length) + entry
    file.write(encode.header(1, len(begin) + weight.length) + begin)
    for chunk in graph.chunks(weight):
        file.write(chunk)


def _manifest_text(manifest: Manifest) -> bytes:
    content = {"format": FORMAT, **asdict(manifest)}
    return json.dumps({**content, "manifest_sha256": _sha256_of(content)}, indent=2).encode() + b"\n"


def _sha256_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """What a slice's folder says of itself, after checking both files against their hashes.

    Raises:
        SliceFolderError: a file is missing, truncated or edited.
    """
    manifest = _parse(folder / MANIFEST)
    path = folder / GRAPH
    try:
        size = path.stat().st_size
        if size != manifest.graph_bytes:
            raise _spoiled(path, f"{size} bytes, the manifest says {manifest.graph_bytes}")
        digest = hashlib.sha256()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise _spoiled(path, f"cannot read it: {error.strerror}") from error
    if digest.hexdigest() != manifest.graph_sha256:
        raise _spoiled(path, f"its hash is {digest.hexdigest()[:12]}, the manifest says {manifest.graph_sha256[:12]}")
    return manifest


def _parse(path: Path) -> Manifest:
    try:
        content = json.loads(path.read_bytes())
        told = content.pop("manifest_sha256")
        kind = content.pop("format")
        if kind != FORMAT:
            raise _spoiled(path, f"format {kind!r}, this version reads {FORMAT}")
        if _sha256_of({"format": kind, **content}) != told:
            raise _spoiled(path, "it was edited: its hash is not the one it tells")
        ports = {key: tuple(_port(each) for each in content[key]) for key in ("inputs", "outputs")}
        return Manifest(**{**content, **ports})
    except OSError as error:
        raise _spoiled(path, f"cannot read it: {error.strerror}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _spoiled(path, f"no manifest: {type(error).__name__}: {error}") from error


def _port(content: Mapping[str, Any]) -> Port:
    shape = content["shape"]
    return Port(content["name"], content["tensor"], content["dtype"], None if shape is None else tuple(shape))


def _spoiled(path: Path, what: str) -> SliceFolderError:
    return SliceFolderError(what, where=str(path), mend="write the slice again with `slicebed model slice`")


def load_slice(folder: Path, *, batch: int = 1) -> tuple[Manifest, Slice]:
    """Check a published slice and make it ready to run.

    Args:
        folder: what `write_slice` wrote.
        batch: frames at a time in the warm-up; any other number runs too.

    Raises:
        SliceFolderError: a file is missing, truncated or edited.
        AgentError: TensorFlow is missing or refuses the graph.
    """
    manifest = read_manifest(folder)
    with Executor(folder / GRAPH) as executor:
        feeds, fetches = ([port.tensor for port in ports] for ports in (manifest.inputs, manifest.outputs))
        return manifest, executor.prepare(feeds, fetches, batch=batch)
