"""Keras models: read from a file without running what it might carry, and traced."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
import warnings
import zipfile
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.choice import choose
from slicebed_agent.model.freeze import Trace
from slicebed_agent.model.layer_trace import LayerRecorder, layer_graph, legal
from slicebed_agent.model.runtime import tensorflow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_HDF5: Final = b"\x89HDF\r\n\x1a\n"
_COLOUR: Final = re.compile(r"\x1b\[\d*m")
_EXPORT: Final = "export it as a SavedModel (model.export(FOLDER)) on the machine that has its code"


def check_file(path: Path) -> None:
    """Refuse, without TensorFlow, what is no Keras model file or needs code that came with no file.

    Raises:
        AgentConfigError: the file is empty, truncated or foreign, or holds a Lambda layer or a class of somebody's own.
    """
    config = _zip_config(path) if path.suffix == ".keras" else _hdf5_config(path)
    for layer in _serialised(config):
        name = layer.get("class_name")
        module = str(layer.get("module") or "keras")
        if name == "Lambda":
            raise AgentConfigError(
                "it holds a Lambda layer, whose code would run while it is read", where=str(path), mend=_EXPORT
            )
        if layer.get("registered_name") not in {None, name} or module.partition(".")[0] not in {"keras", "builtins"}:
            raise AgentConfigError(f"it needs the custom object {name}", where=str(path), mend=_EXPORT)


def load_file(path: Path) -> Any:
    """The Keras model of a file that `check_file` let pass.

    Raises:
        AgentConfigError: Keras cannot read it.
    """
    keras = tensorflow().keras
    keras.backend.clear_session(free_memory=False)  # names that Keras makes up depend on what it made before
    try:
        with warnings_unless_refused():
            return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # Keras' errors have no common root
        raise AgentConfigError(
            f"Keras cannot read it: {_plain(error)}", where=str(path), mend="save it again with Keras 3"
        ) from error


@contextlib.contextmanager
def warnings_unless_refused() -> Iterator[None]:
    """Hold back what Keras warns of: where an error follows, it says everything in one line."""
    with warnings.catch_warnings(record=True) as held:
        warnings.simplefilter("always")
        yield
    for each in held:
        warnings.warn_explicit(each.message, each.category, each.filename, each.lineno)


def trace_keras(
    model: Any,
    *,
    input_shape: tuple[int, ...] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> Trace:
    """Trace a Keras model for inference, with a free batch dimension.

    Args:
        model: functional, sequential or subclassed.
        input_shape: of one frame, where the model leaves sizes open.
        inputs: the order of several inputs, by their layers' names.
        outputs: which outputs, by the names of output layers or of other layers; needed where there are several.

    Raises:
        AgentConfigError: sizes stay open, there are several inputs or outputs and none were chosen, or the model was
            never built and so has no weights.
    """
    tf = tensorflow()
    if not model.built:
        _build(model, input_shape)
    specs, names = _specs(tf, model, input_shape)
    order = choose("inputs", inputs, names, model.name, whole=True)
    recorder = LayerRecorder(tf)
    traced: list[Any] = []

    def forward(*tensors: Any) -> list[Any]:
        given = dict(zip(order, tensors, strict=True))
        with recorder.watching(model):
            result = model(_arranged(tf, model, [given[name] for name in names]), training=False)
        traced.extend(_chosen(tf, model, recorder, result, outputs))
        return traced

    by_name = dict(zip(names, specs, strict=True))
    signature = [by_name[name] for name in order]
    concrete = _traced(tf, forward, signature, model.name)
    paths = {id(each.value.handle): each.path for each in model.variables if hasattr(each.value, "handle")}
    return Trace(concrete, tuple(concrete.inputs[: len(order)]), tuple(traced), model, tuple(recorder.calls), paths)


def _build(model: Any, input_shape: tuple[int, ...] | None) -> None:
    """Make the layers of a model that never saw a frame; weights made now would be nobody's."""
    if input_shape is None:
        raise AgentConfigError(
            "it was saved before it was built, and does not say what it takes",
            where=model.name,
            mend="call it on a frame and save it again; where no layer has weights, give --input-shape",
        )
    before = len(model.weights)
    try:
        model.build((None, *input_shape))
    except Exception as error:  # a layer may raise anything
        raise _not_computable(error, model.name) from error
    if missing := len(model.weights) - before:
        raise AgentConfigError(
            f"it was saved before it was built: {missing} arrays of weights are missing",
            where=model.name,
            mend="call it on a frame, train it or load its weights, and save it again",
        )


def _traced(tf: Any, forward: Any, signature: Sequence[Any], where: str) -> Any:
    try:
        return tf.function(forward, input_signature=signature, autograph=False).get_concrete_function()
    except AgentConfigError:
        raise
    except Exception as error:  # a layer may raise anything
        raise _not_computable(error, where) from error


def _not_computable(error: Exception, where: str) -> AgentConfigError:
    return AgentConfigError(
        f"it cannot be computed for this input: {_plain(error)}",
        where=where,
        mend="give the size of one frame (--input-shape H,W,C)",
    )


def _specs(tf: Any, model: Any, input_shape: tuple[int, ...] | None) -> tuple[list[Any], list[str]]:
    symbolic = getattr(layer_graph(model) or model, "inputs", None) or []
    names = [each._keras_history.operation.name for each in symbolic]  # noqa: SLF001 - else Keras tells numbers
    if not symbolic and input_shape is None:
        raise AgentConfigError(
            "the model does not say what it takes", where=model.name, mend="give --input-shape (H,W,C of one frame)"
        )
    if input_shape is not None and len(symbolic) > 1:
        raise AgentConfigError(
            f"one input shape for {len(symbolic)} inputs", where=model.name, mend="save the model with fixed sizes"
        )
    if input_shape is not None and not symbolic:
        return [tf.TensorSpec((None, *input_shape), tf.float32, name="input")], ["input"]
    shapes = [tuple(each.shape[1:]) for each in symbolic]
    if input_shape is not None:
        shapes = [_fitting(input_shape, shapes[0], model.name)]
    for name, shape in zip(names, shapes, strict=True):
        if None in shape:
            raise AgentConfigError(
                f"input {name} leaves sizes open: {shape}", where=model.name, mend="give --input-shape"
            )
    rows = zip(names, shapes, symbolic, strict=True)
    return [tf.TensorSpec((None, *shape), each.dtype, name=legal(name)) for name, shape, each in rows], names


def _fitting(given: tuple[int, ...], open_shape: tuple[int | None, ...], where: str) -> tuple[int, ...]:
    fits = len(given) == len(open_shape) and all(
        theirs in {None, mine} for mine, theirs in zip(given, open_shape, strict=True)
    )
    if not fits:
        raise AgentConfigError(
            f"input shape {given} does not fit the model's {open_shape}", where=where, mend="leave the batch out"
        )
    return given


def _arranged(tf: Any, model: Any, tensors: list[Any]) -> Any:
    """The inputs in the structure (a list, a dictionary) that the model takes them in."""
    structure = getattr(layer_graph(model), "_inputs_struct", None)
    return tensors[0] if structure is None else tf.nest.pack_sequence_as(structure, tensors)


def _chosen(tf: Any, model: Any, recorder: LayerRecorder, result: Any, outputs: Sequence[str] | None) -> list[Any]:
    results = tf.nest.flatten(result)
    known = list(getattr(layer_graph(model), "output_names", None) or [])
    if len(set(known)) != len(results):
        known = [f"output_{number}" for number in range(len(results))] if len(results) > 1 else ["output"]
    tensors = dict(zip(known, results, strict=True))
    graph = tf.compat.v1.get_default_graph()
    layers = {
        call.name: graph.get_tensor_by_name(call.outputs[0])
        for call in recorder.calls
        if len(call.outputs) == 1 and call.name not in tensors
    }
    return [{**layers, **tensors}[name] for name in choose("outputs", outputs, known, model.name, others=layers)]


def _zip_config(path: Path) -> Any:
    try:
        with zipfile.ZipFile(path) as archive:
            return json.loads(archive.read("config.json"))
    except (OSError, zipfile.BadZipFile, KeyError, ValueError, EOFError) as error:
        raise _foreign(path, error) from error


def _hdf5_config(path: Path) -> Any:
    h5py: Any = importlib.import_module("h5py")  # TensorFlow's own dependency
    try:
        with path.open("rb") as stream:
            if stream.read(len(_HDF5)) != _HDF5:
                raise _foreign(path, ValueError("it is not HDF5"))
        with h5py.File(path) as archive:
            return json.loads(archive.attrs["model_config"])
    except (OSError, KeyError, ValueError) as error:
        raise _foreign(path, error) from error


def _foreign(path: Path, error: Exception) -> AgentConfigError:
    what = "the file is empty" if path.is_file() and not path.stat().st_size else "truncated, or no Keras model"
    return AgentConfigError(f"{what} ({error})", where=str(path), mend="save it again with model.save(...)")


def _plain(error: Exception) -> str:
    """The start of Keras' message, without its colours."""
    return " ".join(_COLOUR.sub("", str(error)).split())[:300]


def _serialised(config: Any) -> Iterator[dict[str, Any]]:
    """Every object that a saved configuration would make."""
    waiting = [config]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            if "class_name" in value:
                yield value
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
