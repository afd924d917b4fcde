"""The keys of a model's choice as pydantic sees them: `model` of an experiment, `models` of its search."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from slicebed.spec.schema import FileName, StrictModel, refuse, told, whole

MAX_SEED = 2**63 - 1
_MAX_SIDE = 65_536


def _named(value: object) -> object:
    """A model's name alone stands for a mapping of it."""
    return value if isinstance(value, dict) else {"name": model_name(value)}


def model_name(value: object) -> str:
    """A name of the zoo or a path, as far as one value tells."""
    if not isinstance(value, str) or not value or "\0" in value:
        refuse(f"unknown model {told(value)}", "a name of the zoo, such as cnn14, or a path relative to this file")
    return value


def _tensor_name(value: object) -> str:
    if not isinstance(value, str) or not value:
        refuse(f"{told(value)} is not a name", "the name of an operator or tensor of the model")
    return value


def _names(value: object) -> object:
    """A name alone stands for a list of it."""
    return value if isinstance(value, list) else [_tensor_name(value)]


def _each_once(names: list[str]) -> list[str]:
    allowed = "every input of the model, each once"
    if not names:
        refuse("an empty list", allowed)
    for name in names:
        if names.count(name) > 1:
            refuse(f'"{name}" is given twice', allowed)
    return names


TensorName = Annotated[str, PlainValidator(_tensor_name)]
TensorNames = Annotated[list[TensorName], BeforeValidator(_names), AfterValidator(_each_once)]


class ModelModel(StrictModel):
    """Which model, with the settings that ``slicebed model`` takes as options."""

    name: Annotated[str, PlainValidator(model_name)]
    weights: FileName | None = None
    seed: Annotated[int, whole(0, MAX_SEED)] | None = None
    input_shape: list[Annotated[int, whole(1, _MAX_SIDE)]] | None = None
    input: TensorNames | None = None
    output: TensorName | None = None


ChoiceValue = Annotated[ModelModel, BeforeValidator(_named)]
