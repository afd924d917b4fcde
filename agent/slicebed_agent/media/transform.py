"""Pictures as a model takes them, and its answers as labels."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentConfigError, PayloadError
from slicebed_agent.pipeline.contracts import Result, Tensor, Tensors

Pixels = npt.NDArray[np.uint8]
_COLOURS = 3


@dataclasses.dataclass(frozen=True)
class Transform:
    """Resizes pictures, whatever their proportions, and makes numbers of their pixels: pixel * scale + offset.

    Attributes:
        height: of the model's input.
        width: see `height`.
        scale: for each channel that the model takes: three, or one, which makes grey pictures.
        offset: see `scale`.
        bgr: blue first; `scale` and `offset` are in that order then.
    """

    height: int
    width: int
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    bgr: bool = False

    def __post_init__(self) -> None:
        """Refuse what no picture can be.

        Raises:
            AgentConfigError: names the field.
        """
        if self.height < 1 or self.width < 1:
            raise AgentConfigError(f"pictures of {self.height} x {self.width}", where="transform", mend="1 x 1 or more")
        if len(self.scale) != len(self.offset) or len(self.scale) not in {1, _COLOURS}:
            raise AgentConfigError(
                f"{len(self.scale)} scales and {len(self.offset)} offsets",
                where="transform",
                mend="give 1 or 3 of each",
            )
        if not np.isfinite([*self.scale, *self.offset]).all():
            raise AgentConfigError("a scale or offset is no number", where="transform")

    def __call__(self, tensors: Tensors) -> Tensors:
        """Transform a frame.

        Args:
            tensors: one array of pictures, uint8, batch x height x width x 3, red first.

        Returns:
            One float32 array, batch x `height` x `width` x channels.

        Raises:
            PayloadError: the frame is something else.
        """
        if len(tensors) != 1 or not _are_pictures(tensors[0]):
            found = ", ".join(f"{each.dtype} {each.shape}" for each in tensors)
            raise PayloadError(f"pictures are uint8 (B, H, W, 3), came {found or 'nothing'}", where="transformer")
        (pictures,) = tensors
        grey = len(self.scale) == 1
        made = np.empty((len(pictures), self.height, self.width, len(self.scale)), np.float32)
        scale, offset = (np.asarray(values, np.float32) for values in (self.scale, self.offset))
        for place, picture in enumerate(pictures):
            small = resize(picture, self.height, self.width, grey=grey)
            np.multiply(small[..., ::-1] if self.bgr else small, scale, out=made[place])
        made += offset
        return (made,)


def resize(picture: Pixels, height: int, width: int, *, grey: bool = False) -> Pixels:
    """Resize a picture; bilinear, every pixel of a larger one counts.

    Pillow does it, in whole numbers and alike on every processor; swscale takes half the time (3.5 ms of 7 for 720p to
    224 x 224), but rounds as the processor's vector units suit it, and two hosts' pictures must not differ.

    Args:
        picture: height x width x 3, red first.
        height: of the result.
        width: of the result.
        grey: one channel, by brightness (ITU-R 601-2), instead of three.
    """
    from PIL import Image  # noqa: PLC0415 - most agents never see a picture

    image = Image.fromarray(np.ascontiguousarray(picture))
    if (image.height, image.width) != (height, width):
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image.convert("L"))[..., None] if grey else np.asarray(image)


def classify(tensors: Tensors, top: int) -> Result:
    """Name the most likely classes of an answer, which goes on as it is.

    Args:
        tensors: the answer: one array with a row for each image, whose values are as many as there are classes.
        top: how many classes are named.

    Returns:
        Notes: `labels`, of each image the numbers of its most likely classes, the likeliest first, and `scores`, the
        answer's values there.

    Raises:
        PayloadError: it is no such answer, or holds values that are no numbers.
    """
    answer = tensors[0] if len(tensors) == 1 else None
    if answer is None or not answer.ndim or not answer.size or answer.dtype.kind == "c":
        found = ", ".join(f"{each.dtype} {each.shape}" for each in tensors)
        raise PayloadError(f"an answer has a row of values for each image, came {found}", where="classifier")
    rows = answer.reshape(len(answer), -1).astype(np.float64)
    if not np.isfinite(rows).all():
        raise PayloadError("answer holds values that are no numbers", where="classifier")
    labels = np.argsort(-rows, axis=1, kind="stable")[:, : max(1, top)]
    scores = np.take_along_axis(rows, labels, axis=1)
    return Result(tensors, notes={"labels": labels.tolist(), "scores": scores.tolist()})


def _are_pictures(array: Tensor) -> bool:
    return array.dtype == np.uint8 and array.ndim == _COLOURS + 1 and array.shape[-1] == _COLOURS and array.size > 0
