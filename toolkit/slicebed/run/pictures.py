"""The camera's pictures: their file, and how they become what the experiment's model is fed."""

from __future__ import annotations

import functools
import re
import warnings
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.run.files import read_run_file
from slicebed.spec.models import Images
from slicebed_agent.errors import AgentError

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed.run.files import RunFile
    from slicebed.spec.experiment import Experiment, Source
    from slicebed.split.model import OpenedModel

_MAX_BYTE = 255.0


@dataclass(frozen=True)
class Transform:
    """How pictures become what a model is fed: this size, and channel by channel value = pixel * scale + offset."""

    height: int
    width: int
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    bgr: bool


def pictures_of(source: Source) -> RunFile | None:
    """The camera's video, or its folder packed into one file; None where it needs neither.

    Raises:
        SpecError: it cannot be read, or holds no pictures, or one that cannot be decoded.
    """
    if source.file is None:
        return None
    if source.images is Images.FOLDER:
        from slicebed_agent.media.folder import pack_folder  # noqa: PLC0415 - numpy and more, for this alone

        try:
            packed = pack_folder(source.file)
        except AgentError as error:
            raise SpecError(error.what, where=f"{source.place}: {error.where}", mend=error.mend) from error
        broken = _first_broken(packed)
        if broken is not None:
            raise SpecError(broken, where=f"{source.place}: {source.file}", mend="take it out of the folder")
        return read_run_file(packed, where=source.place)
    return read_run_file(source.file, where=source.place)


@functools.cache
def _first_broken(packed: Path) -> str | None:
    """What is wrong with the first picture of a packed folder that cannot be decoded; None where all can be.

    The file is named by the hash of its content, so that it need not be looked at again when a stream's cut changes.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - for folders of pictures alone

    with zipfile.ZipFile(packed) as file, warnings.catch_warnings():
        # The camera takes these sizes, too.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        for name in sorted(file.namelist()):
            try:
                with file.open(name) as data, Image.open(data) as picture:
                    picture.convert("RGB")
            except UnidentifiedImageError:
                return f"{name} is no picture of a format that is known"
            except (OSError, ValueError, SyntaxError, RuntimeError, Image.DecompressionBombError) as error:
                return f"{name} is no picture: {error}"
    return None


def in_users_words(said: str, pictures: RunFile | None) -> str:
    """A host's words with the user's film in place of the file that the host calls by a hash."""
    if pictures is None:
        return said
    return re.sub(rf"[^\s:;,()]*{pictures.sha256}[^\s:;,()]*", lambda _: str(pictures.path), said)


def transform_of(experiment: Experiment, opened: OpenedModel) -> Transform:
    """How the experiment's pictures fit its model.

    Raises:
        SpecError: the model takes no pictures: its input is not one of floats, height x width x 1 or 3.
    """
    card = opened.frozen.card
    first = card.inputs[0] if len(card.inputs) == 1 else None
    shape = None if first is None or first.shape is None else first.shape[1:]
    size = [each for each in shape or () if each is not None]
    if first is None or first.dtype != "float32" or len(size) != 3 or len(shape or ()) != 3 or size[2] not in {1, 3}:
        told = ", ".join(f"{each.name} {each.dtype} {_shown(each.shape)}" for each in card.inputs)
        raise SpecError(
            f"images: {experiment.source.images} are no pictures for {opened.name}, which is fed {told}",
            where=experiment.source.place,
            mend="a model that is fed batch x height x width x 3 or 1 floats, or images: random",
        )
    scale, offset, bgr = _pixels(experiment, opened)
    channels = size[2]
    return Transform(size[0], size[1], _each(scale, channels), _each(offset, channels), bgr)


def _pixels(experiment: Experiment, opened: OpenedModel) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    asked = experiment.pipeline.pixels
    if asked is not None:
        return ((asked.highest - asked.lowest) / _MAX_BYTE,), (asked.lowest,), asked.bgr
    from slicebed_agent.model.zoo.pixels import pixels_of  # noqa: PLC0415 - numpy, for this alone

    return pixels_of(opened.name)


def _each(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """One value a channel."""
    return values if len(values) == channels else (values[0],) * channels


def _shown(shape: tuple[int | None, ...] | None) -> str:
    return "of unknown shape" if shape is None else "x".join("?" if size is None else str(size) for size in shape)
