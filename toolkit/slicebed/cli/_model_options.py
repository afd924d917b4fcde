"""The options that say which model, shared by every verb of `slicebed model`."""

from __future__ import annotations

import functools
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_type_hints

import typer

from slicebed.errors import SpecError
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Callable


def _options(
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="A zoo name, a .keras file, a SavedModel folder or a frozen .pb.")
    ],
    *,
    weights: Annotated[
        Path | None, typer.Option(help="A zoo model's trained weights: .weights.h5, .keras or .npz.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Draw a zoo model's weights from this seed.")] = None,
    input_shape: Annotated[
        str | None, typer.Option(metavar="H,W,C", help="Shape of one frame, where the model leaves it open.")
    ] = None,
    inputs: Annotated[list[str] | None, typer.Option("--input", help="An input, where there are several.")] = None,
    outputs: Annotated[list[str] | None, typer.Option("--output", help="An output, where there are several.")] = None,
) -> ModelSource:
    return ModelSource(
        model,
        weights=weights,
        seed=seed,
        input_shape=None if input_shape is None else _shape(input_shape),
        inputs=tuple(inputs) if inputs else None,
        outputs=tuple(outputs) if outputs else None,
    )


def takes_model(verb: Callable[..., None]) -> Callable[..., None]:
    """Give a verb, whose first parameter is a `ModelSource`, the options that make one."""
    shared = inspect.signature(_options).parameters
    own = list(inspect.signature(verb).parameters.values())[1:]
    hints = {**get_type_hints(verb, include_extras=True), **get_type_hints(_options, include_extras=True)}

    @functools.wraps(verb)
    def run(**values: Any) -> None:
        source = _options(**{name: values.pop(name) for name in shared})
        verb(source, **values)

    # Typer reads the signature, with its annotations as types.
    parameters = [each.replace(annotation=hints[each.name]) for each in (*shared.values(), *own)]
    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def _shape(text: str) -> tuple[int, ...]:
    sizes = [size.strip() for size in text.split(",")]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise SpecError(f"{text!r} is no shape", where="--input-shape", mend="allowed: as in 224,224,3, no batch")
    return tuple(map(int, sizes))
