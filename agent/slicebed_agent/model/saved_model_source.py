"""SavedModel folders, Keras' exports among them: their signature, traced."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.choice import choose
from slicebed_agent.model.freeze import Trace
from slicebed_agent.model.layer_trace import legal
from slicebed_agent.model.runtime import tensorflow

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_DEFAULT = "serving_default"


def check_folder(path: Path) -> None:
    """Refuse, without TensorFlow, a folder that is no SavedModel.

    Raises:
        AgentConfigError: there is no saved_model.pb in it, or an empty one.
    """
    graph = path / "saved_model.pb"
    if not graph.is_file() or not graph.stat().st_size:
        raise AgentConfigError(
            "no SavedModel: saved_model.pb is missing or empty", where=str(path), mend="give the folder that holds it"
        )


def trace_saved_model(
    path: Path,
    *,
    input_shape: tuple[int, ...] | None = None,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
) -> tuple[Trace, int]:
    """Trace the serving signature of a SavedModel.

    Args:
        path: the folder.
        input_shape: of one frame, where the signature leaves sizes open.
        inputs: the order of several inputs, by their names in the signature.
        outputs: which outputs, by their names in the signature; needed where there are several.

    Returns:
        The trace, and the number of weights.

    Raises:
        AgentConfigError: TensorFlow cannot read it, it has no such signature, or sizes stay open.
    """
    tf = tensorflow()
    try:
        loaded = tf.saved_model.load(str(path))
    except Exception as error:  # TensorFlow's errors have no common root
        raise AgentConfigError(
            f"TensorFlow cannot read it: {str(error)[:300]}", where=str(path), mend="export it again"
        ) from error
    signature = _signature(loaded.signatures, str(path))
    taken: dict[str, Any] = signature.structured_input_signature[1]
    order = choose("inputs", inputs, sorted(taken), str(path), whole=True)
    wanted = choose("outputs", outputs, sorted(signature.structured_outputs), str(path))
    specs = _specs(tf, [taken[name] for name in order], order, input_shape, str(path))

    def forward(*tensors: Any) -> list[Any]:
        result = signature(**dict(zip(order, tensors, strict=True)))
        return [result[name] for name in wanted]

    concrete = tf.function(forward, input_signature=specs, autograph=False).get_concrete_function()
    parameters = sum(int(tf.size(each)) for each in signature.variables)
    return Trace(concrete, tuple(concrete.inputs[: len(order)]), tuple(concrete.outputs), loaded), parameters


def _signature(signatures: Mapping[str, Any], where: str) -> Any:
    if _DEFAULT in signatures:
        return signatures[_DEFAULT]
    if len(signatures) == 1:
        return next(iter(signatures.values()))
    raise AgentConfigError(
        f"signatures: {', '.join(sorted(signatures)) or 'none'}", where=where, mend=f"export one called {_DEFAULT}"
    )


def _specs(
    tf: Any, taken: Sequence[Any], names: Sequence[str], input_shape: tuple[int, ...] | None, where: str
) -> list[Any]:
    if input_shape is not None and len(taken) > 1:
        raise AgentConfigError(
            f"one input shape for {len(taken)} inputs", where=where, mend="export the model with fixed sizes"
        )
    specs = []
    for name, each in zip(names, taken, strict=True):
        shape = each.shape if input_shape is None else tf.TensorShape((None, *input_shape)).merge_with(each.shape)
        if shape.rank is None or None in shape.as_list()[1:]:
            raise AgentConfigError(f"input {name} leaves sizes open: {shape}", where=where, mend="give --input-shape")
        specs.append(tf.TensorSpec(shape, each.dtype, name=legal(name)))
    return specs
