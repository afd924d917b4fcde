"""From what the user calls a model to its frozen graph file and card; the second time without TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model import cnn14, files
from slicebed_agent.model.card import ModelCard, Source, TensorCard, Weights, WeightsKind
from slicebed_agent.model.graphdef.read import read_graph
from slicebed_agent.model.kept import Kept, hash_of
from slicebed_agent.model.runtime import tensorflow_version
from slicebed_agent.model.zoo.entries import DEFAULT_SEED, entry, find, unknown

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed_agent.model.files import Incoming
    from slicebed_agent.model.graph import Graph
    from slicebed_agent.model.source import ModelSource

_KERAS_SUFFIXES: Final = frozenset({".keras", ".h5"})
# What frozen files look like; a new number makes every kept one be frozen again.
_FORMAT: Final = 2


class NotFrozenError(AgentError):
    """The model has to be frozen first, and TensorFlow, which that takes, is not installed here."""


@dataclasses.dataclass(frozen=True)
class FrozenModel:
    """A model ready to be analysed, cut and run.

    Attributes:
        path: of the frozen GraphDef.
        card: what is known of it.
        graph: its graph, where finding out about the file meant reading it (a ``.pb``); else None.
    """

    path: Path
    card: ModelCard
    graph: Graph | None = None

    def graph_sha256(self) -> str:
        """Hash of the graph file, by which it travels; of a ``.pb`` it takes reading the whole file."""
        return self.card.graph_sha256 or files.hash_file(self.path)

    def read_graph(self) -> Graph:
        """Its graph, under the model's name.

        Raises:
            ModelFileError: the file is truncated or foreign.
        """
        graph = self.graph or read_graph(
            self.path,
            inputs=[tensor.name for tensor in self.card.inputs],
            outputs=[tensor.name for tensor in self.card.outputs],
            layers=self.card.layer_of(),
        )
        return dataclasses.replace(graph, name=self.card.name)


@dataclasses.dataclass(frozen=True)
class _Request:
    """What was asked for, checked as far as that goes without TensorFlow."""

    source: Source
    name: str
    path: Path | None
    weights: Path | None
    seed: int | None
    input_shape: tuple[int, ...] | None
    inputs: tuple[str, ...] | None
    outputs: tuple[str, ...] | None


def cache_folder() -> Path:
    """Where frozen models are kept by default: ``slicebed/models`` in the user's cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "slicebed" / "models"


def open_model(source: ModelSource, *, cache: Path | None = None) -> FrozenModel:
    """Freeze a model, or find it frozen already.

    A frozen file is kept under a hash of all that it was made from, and of the versions that made it. TensorFlow is
    imported only where that is not kept yet. Where TensorFlow is not installed, what any versions made is taken, the
    last of them. A ``.pb`` is frozen as it is, and is neither copied nor hashed.

    Args:
        source: which model.
        cache: folder of frozen models; by default `cache_folder()`.

    Returns:
        The file and what is known of it. While others may clean the cache, hold the file with `files.Store.use`.

    Raises:
        AgentConfigError: the model is unknown, damaged or foreign, or cannot be sliced; nothing was kept.
        NotFrozenError: TensorFlow is needed and not installed.
    """
    request = _request_of(source)
    if request.source is Source.GRAPH_DEF:
        return _as_it_is(request)
    folder = cache_folder() if cache is None else cache
    try:
        return _kept_or_frozen(request, folder)
    except OSError as error:
        raise AgentConfigError(
            f"cannot read the model or keep it frozen: {error.strerror or error}",
            where=str(error.filename or folder),
            mend="check the disk's space and rights",
        ) from error


def is_frozen(source: ModelSource, *, cache: Path | None = None) -> bool:
    """Whether `open_model` has nothing to freeze; raises as it does, as far as looking at the request goes."""
    request = _request_of(source)
    if request.source is Source.GRAPH_DEF:
        return True
    kept = Kept(cache_folder() if cache is None else cache)
    versions = _versions() if _tensorflow_installed() else None
    return kept.find(_key(request, _source_sha256(request)), versions) is not None


def store_of(cache: Path) -> files.Store:
    """The graph files of a cache folder."""
    return Kept(cache).store


def _request_of(source: ModelSource) -> _Request:
    shape = source.input_shape
    if shape is not None and not all(size > 0 for size in shape):
        raise AgentConfigError(f"input shape {shape}", where="--input-shape", mend="give sizes, without the batch")
    return dataclasses.replace(
        _request(source.argument, source.weights, source.seed),
        input_shape=shape,
        inputs=source.inputs,
        outputs=source.outputs,
    )


def _request(argument: str, weights: Path | None, seed: int | None) -> _Request:
    known = find(argument)
    if known is not None:
        if weights is not None and seed is not None:
            raise AgentConfigError("weights from a file and from a seed", where=argument, mend="give one of the two")
        if weights is not None and not weights.is_file():
            raise AgentConfigError("no such file of weights", where=str(weights), mend="check --weights")
        return _Request(Source.ZOO, known.name, None, weights, seed, None, None, None)
    path = Path(argument)
    source = _source_of(argument, path)
    if weights is not None or seed is not None:
        raise AgentConfigError(
            "weights are given for a model of the zoo only", where=argument, mend="this model brings its own"
        )
    # Not resolve: a link is called by its own name.
    name = Path(os.path.abspath(path)).stem  # noqa: PTH100 - pathlib has no other way that drops "." and ".." alone
    return _Request(source, name, path, None, None, None, None, None)


def _source_of(argument: str, path: Path) -> Source:
    if path.is_dir():
        return Source.SAVED_MODEL
    if not path.is_file():
        if path.suffix in _KERAS_SUFFIXES | {".pb"} or "/" in argument:
            raise AgentConfigError("no such file", where=argument, mend="check the path")
        raise unknown(argument)
    if path.suffix in _KERAS_SUFFIXES:
        return Source.KERAS
    if path.suffix == ".pb":
        return Source.GRAPH_DEF
    raise AgentConfigError(
        f"unknown kind of model {path.suffix!r}",
        where=argument,
        mend="give a name of the zoo, a .keras or .h5 file, a SavedModel folder or a frozen GraphDef (.pb)",
    )


def _as_it_is(request: _Request) -> FrozenModel:
    path = _path(request)
    shape = None if request.input_shape is None else (None, *request.input_shape)
    graph = read_graph(path, inputs=request.inputs, outputs=request.outputs, input_shape=shape)
    tensors = graph.tensors()
    card = ModelCard(
        name=request.name,
        source=Source.GRAPH_DEF,
        inputs=tuple(TensorCard(name, tensors[name].dtype, tensors[name].shape) for name in graph.inputs),
        outputs=tuple(TensorCard(name, tensors[name].dtype, tensors[name].shape) for name in graph.outputs),
        layers=(),
        layers_note="a GraphDef knows no layers: its name scopes stand for them",
        weights=Weights(WeightsKind.FILE),
        parameters=graph.parameters,
        graph_sha256=None,
        graph_bytes=path.stat().st_size,
        versions={},
    )
    return FrozenModel(path, card, graph)


def _kept_or_frozen(request: _Request, cache: Path) -> FrozenModel:
    source_sha256 = _source_sha256(request)
    kept, key = Kept(cache), _key(request, source_sha256)
    versions = _versions() if _tensorflow_installed() else None
    if (found := kept.find(key, versions)) is not None:
        return FrozenModel(*found)
    if versions is None:
        raise NotFrozenError(
            "it has to be frozen first, and TensorFlow is not installed",
            where=request.name,
            mend="install slicebed[agent]",
        )
    with kept.alone(key):
        # Another process may have frozen it while this one waited.
        found = kept.find(key, versions)
        return FrozenModel(*found) if found is not None else _freeze(request, source_sha256, kept, key)


def _freeze(request: _Request, source_sha256: str, kept: Kept, key: str) -> FrozenModel:
    _check(request)
    kept.store.sweep()
    with kept.store.writing() as sink:
        card = _frozen_card(request, source_sha256, sink)
        path = kept.store.keep(sink)
    kept.add(key, card)
    return FrozenModel(path, card)


def _check(request: _Request) -> None:
    """Refuse a damaged or foreign file before the seconds that TensorFlow's import takes."""
    from slicebed_agent.model import keras_source, saved_model_source  # noqa: PLC0415 - only where it is frozen

    if request.source is Source.KERAS:
        keras_source.check_file(_path(request))
    if request.source is Source.SAVED_MODEL:
        saved_model_source.check_folder(_path(request))


def _frozen_card(request: _Request, source_sha256: str, sink: Incoming) -> ModelCard:
    from slicebed_agent.model import freeze, keras_source, saved_model_source, zoo  # noqa: PLC0415 - as above

    options: dict[str, Any] = {"inputs": request.inputs, "outputs": request.outputs}
    weights = Weights(WeightsKind.FILE, sha256=source_sha256)
    if request.source is Source.SAVED_MODEL:
        trace, parameters = saved_model_source.trace_saved_model(
            _path(request), input_shape=request.input_shape, **options
        )
    else:
        if request.source is Source.ZOO:
            model = zoo.build(request.name, request.input_shape)
            if request.weights is None:
                weights = zoo.preset(model, entry(request.name), request.seed)
            else:
                with keras_source.warnings_unless_refused():
                    weights = zoo.load_weights(model, request.weights)
            trace = keras_source.trace_keras(model, **options)
        else:
            model = keras_source.load_file(_path(request))
            trace = keras_source.trace_keras(model, input_shape=request.input_shape, **options)
        parameters = int(model.count_params())
    frozen = freeze.freeze(trace, sink)
    return ModelCard(
        name=request.name,
        source=request.source,
        inputs=frozen.inputs,
        outputs=frozen.outputs,
        layers=frozen.layers,
        layers_note=frozen.layers_note,
        weights=weights,
        parameters=parameters,
        graph_sha256=sink.sha256,
        graph_bytes=sink.size_bytes,
        versions=_versions(),
    )


def _path(request: _Request) -> Path:
    if request.path is None:
        raise AgentConfigError("a model of the zoo has no file", where=request.name, mend="give its name")
    return request.path


def _source_sha256(request: _Request) -> str:
    """Hash of the files that the model is made from."""
    if request.source is Source.ZOO:
        # The architecture is part of the package, so the package's files are what the model is made from.
        folder = Path(__file__).parent
        code = [folder / "cnn14.py", *sorted((folder / "zoo").glob("*.py"))]
        used = [request.weights] if request.weights is not None else _package_weights(request)
        return _hash_files({path.name: path for path in [*code, *used]})
    path = _path(request)
    if path.is_file():
        return files.hash_file(path)
    return _hash_files({str(each.relative_to(path)): each for each in sorted(path.rglob("*")) if each.is_file()})


def _package_weights(request: _Request) -> list[Path]:
    trained = entry(request.name).trained and request.seed is None
    return [Path(cnn14.__file__).parent / "data" / f"{request.name}.npz"] if trained else []


def _hash_files(paths: Mapping[str, Path]) -> str:
    digest = hashlib.sha256()
    for name, path in paths.items():
        digest.update(f"{name}\0{files.hash_file(path)}\n".encode())
    return digest.hexdigest()


def _key(request: _Request, source_sha256: str) -> str:
    """Of all that the model is made from; what made it is the other half of a card's name."""
    said = {
        "format": _FORMAT,
        "source": request.source,
        "name": request.name,
        "content": source_sha256,
        "seed": DEFAULT_SEED if request.seed is None else request.seed,
        "trained": request.seed is None and request.weights is None,
        "input_shape": request.input_shape,
        "inputs": request.inputs,
        "outputs": request.outputs,
    }
    return hash_of(said)


def _tensorflow_installed() -> bool:
    try:
        tensorflow_version()
    except AgentError:
        return False
    return True


def _versions() -> dict[str, str]:
    return {"tensorflow": tensorflow_version(), "keras": metadata.version("keras"), "numpy": metadata.version("numpy")}
