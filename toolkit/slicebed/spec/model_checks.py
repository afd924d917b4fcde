"""Which model an experiment means, and what must hold between it and the camera's images; from the plain data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed.spec.models import DIGITS_MODEL, HELD_OUT_IMAGES, Images, ModelChoice
from slicebed.spec.problems import Problem, did_you_mean

if TYPE_CHECKING:
    from slicebed.spec.choice_model import ModelModel
    from slicebed.spec.document import Document, Location
    from slicebed.spec.experiment_model import SourceModel

_FILES = "a .keras file, a SavedModel folder or a frozen GraphDef (.pb), relative to this file"
_OWN: Location = ("model",)


def zoo_name(named: object) -> str | None:
    """The zoo's own name for what a file calls a model (``MobileNetV2``); None where the zoo has none."""
    # Its package builds models too and so imports numpy, a tenth of a second that a testbed's file should not cost.
    from slicebed_agent.model.zoo.entries import find  # noqa: PLC0415

    found = find(named) if isinstance(named, str) else None
    return None if found is None else found.name


def _said(document: Document, location: Location) -> Any:
    """Whatever stands at a place of the file that is there."""
    found: Any = document.data
    for step in location:
        found = found.get(step) if isinstance(found, dict) else found[step]
    return found


def named_model(document: Document, location: Location = _OWN) -> object:
    """What the file calls a model, with settings or without; whatever stands there."""
    said = _said(document, location)
    return said.get("name") if isinstance(said, dict) else said


def has_model(document: Document) -> bool:
    """Whether the model that the file names is in the zoo or on the disk."""
    named = named_model(document)
    return isinstance(named, str) and bool(named) and (zoo_name(named) is not None or _exists(document, named))


def model_of(document: Document, model: ModelModel, location: Location = _OWN) -> ModelChoice:
    """The model that a file without `model_problems` means; paths are told from where the command runs."""
    return ModelChoice(
        argument=zoo_name(model.name) or str(beside(document, model.name)),
        weights=None if model.weights is None else beside(document, model.weights),
        seed=model.seed,
        input_shape=None if model.input_shape is None else tuple(model.input_shape),
        inputs=None if model.input is None else tuple(model.input),
        output=model.output,
        place=document.place(document.key_mark(location)),
    )


def images_of(document: Document, source: SourceModel) -> Images:
    """What the camera sees: what is asked for, else its file, else the digits where they fit the model."""
    if source.images is not None:
        return source.images
    if source.video is not None:
        return Images.VIDEO
    if source.folder is not None:
        return Images.FOLDER
    return Images.DIGITS if zoo_name(named_model(document)) == DIGITS_MODEL else Images.RANDOM


def model_problems(document: Document) -> list[Problem]:
    """Every mistake of the experiment's own model, and of images that do not fit it."""
    named = named_model(document)
    if not isinstance(named, str) or not named or "\0" in named:
        return []
    return choice_problems(document) + _image_problems(document, zoo_name(named) or named)


def choice_problems(document: Document, location: Location = _OWN) -> list[Problem]:
    """Every mistake of a model that the file names there, by itself."""
    named = named_model(document, location)
    if not isinstance(named, str) or not named or "\0" in named:
        return []
    if zoo_name(named) is None:
        return _file_problems(document, named, location)
    return _weights_problems(document, location)


def _file_problems(document: Document, named: str, location: Location) -> list[Problem]:
    from slicebed_agent.model.zoo.entries import list_models  # noqa: PLC0415 - as in `zoo_name`

    name: Location = (*location, "name")
    key = name if name in document.value_marks else location
    if not _exists(document, named):
        if "/" in named or Path(named).suffix in {".keras", ".h5", ".pb"}:
            return [Problem(document.value_mark(key), f'model: no such file "{named}"', _FILES)]
        names = [each.name for each in list_models()]
        what = f'unknown model "{named}"{did_you_mean(named.lower(), names)}'
        return [Problem(document.value_mark(key), what, f"{', '.join(names)}, or {_FILES}")]
    said = _said(document, location)
    given = [name for name in ("weights", "seed") if isinstance(said, dict) and said.get(name) is not None]
    what = "{} of a model that brings its own weights"
    return [
        Problem(document.key_mark((*location, name)), what.format(name), "with a model of the zoo") for name in given
    ]


def _weights_problems(document: Document, location: Location) -> list[Problem]:
    said = _said(document, location)
    weights = said.get("weights") if isinstance(said, dict) else None
    if not isinstance(said, dict) or not isinstance(weights, str) or not weights or "\0" in weights:
        return []
    mark = document.value_mark((*location, "weights"))
    problems = []
    if not beside(document, weights).is_file():
        problems.append(Problem(mark, f'weights: no such file "{weights}"', "a path relative to this file"))
    if said.get("seed") is not None:
        problems.append(Problem(document.key_mark((*location, "seed")), "seed besides weights", "one of the two"))
    return problems


def _image_problems(document: Document, model: str) -> list[Problem]:
    source = document.data.get("source")
    if not isinstance(source, dict):
        return []
    asked, batch = source.get("images"), source.get("batch_size")
    if asked == Images.DIGITS and model != DIGITS_MODEL:
        what = f'images: "{Images.DIGITS}" are no pictures for {model}'
        mark = document.value_mark(("source", "images"))
        return [Problem(mark, what, f"{Images.RANDOM}, or model: {DIGITS_MODEL}")]
    none = asked is None and source.get("video") is None and source.get("folder") is None
    digits = asked == Images.DIGITS or (none and model == DIGITS_MODEL)
    if digits and isinstance(batch, int) and batch > HELD_OUT_IMAGES:
        what = f"batch_size: {batch} is more than the digits kept from training"
        mark = document.value_mark(("source", "batch_size"))
        return [Problem(mark, what, f"a whole number from 1 to {HELD_OUT_IMAGES}, or images: {Images.RANDOM}")]
    return []


def _exists(document: Document, named: str) -> bool:
    return "\0" not in named and beside(document, named).exists()


def beside(document: Document, named: str) -> Path:
    """A path that a file names, told from where the command runs."""
    # normpath: messages and manifests show models/..., not experiments/../models/...
    return Path(os.path.normpath(document.path.parent / named))
