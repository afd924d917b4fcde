"""What a camera is asked to show, checked and turned into the show's plan."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from slicebed_agent import checks
from slicebed_agent.media.plan import CheckPlan, Images, ShowPlan
from slicebed_agent.media.transform import Transform
from slicebed_agent.pipeline.contracts import SourcePlan
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from pathlib import Path

_MAX_BATCH: Final = 65536
MAX_SIDE: Final = 16384
"""Longest side of a picture."""

_IMAGES: Final = {
    agent_pb2.IMAGES_DIGITS: Images.DIGITS,
    agent_pb2.IMAGES_RANDOM: Images.RANDOM,
    agent_pb2.IMAGES_VIDEO: Images.VIDEO,
    agent_pb2.IMAGES_FOLDER: Images.FOLDER,
    agent_pb2.IMAGES_SYNTHETIC: Images.SYNTHETIC,
}
_OF_A_FILE: Final = (Images.VIDEO, Images.FOLDER)
_OF_A_MODEL: Final = (Images.DIGITS, Images.RANDOM)


@dataclasses.dataclass(frozen=True)
class Film:
    """A checked `SourceConfig`.

    Attributes:
        plan: of the camera.
        show: what it shows, but for the path of its file.
        file_sha256: of the video or of the ZIP file of pictures; empty of what needs none.
    """

    plan: SourcePlan
    show: ShowPlan
    file_sha256: str

    def at(self, path: Path) -> ShowPlan:
        """The show, once it is known where its file is."""
        return dataclasses.replace(self.show, file=path)


def read(message: agent_pb2.SourceConfig) -> Film:
    """Check what the camera is asked for.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
    """
    rate = checks.number("source.frames_per_s", message.frames_per_s, 0.0)
    if not rate:
        raise checks.wrong("source.frames_per_s", rate, "a positive number")
    images = _IMAGES.get(message.images)
    if images is None:
        raise checks.wrong("source.images", message.images, ", ".join(agent_pb2.Images.keys()[1:]))
    batch = checks.within("source.batch_size", message.batch_size, 1, _MAX_BATCH)
    height = checks.within("source.height", message.height, 0, MAX_SIDE)
    width = checks.within("source.width", message.width, 0, MAX_SIDE)
    if bool(height) is not bool(width):
        raise checks.wrong("source.height", f"{height} with a width of {width}", "both, or neither")
    if images not in _OF_A_FILE and message.file_sha256:
        raise checks.wrong("source.file_sha256", repr(message.file_sha256), f"none: {images} images need no file")
    if images in _OF_A_MODEL and not message.HasField("check"):
        raise checks.wrong("source.check", "none", f"the model that {images} images are made for")
    check = _check(message.check) if message.HasField("check") else None
    return Film(
        plan=SourcePlan(message.frames or None, rate, batch, message.seed),
        show=ShowPlan(images, batch, message.seed, check, None, height, width, message.loops),
        file_sha256=checks.sha256("source.file_sha256", message.file_sha256) if images in _OF_A_FILE else "",
    )


def _check(message: agent_pb2.CheckConfig) -> CheckPlan:
    if not message.answer:
        raise checks.wrong("source.check.answer", "''", "the tensor that answers are held against, as `operator:k`")
    return CheckPlan(
        model_sha256=checks.sha256("source.check.model_sha256", message.model_sha256),
        feeds=checks.tensors("source.check.feeds", message.feeds),
        answer=message.answer,
        transform=transform("source.check.transform", message.transform) if message.HasField("transform") else None,
        pictures=message.pictures,
    )


def transform(field: str, message: agent_pb2.TransformConfig) -> Transform:
    """How pictures become what a model is fed.

    Raises:
        AgentConfigError: names the field, what is wrong and what is allowed.
    """
    return Transform(
        height=checks.within(f"{field}.height", message.height, 1, MAX_SIDE),
        width=checks.within(f"{field}.width", message.width, 1, MAX_SIDE),
        scale=tuple(message.scale),
        offset=tuple(message.offset),
        bgr=message.bgr,
    )
