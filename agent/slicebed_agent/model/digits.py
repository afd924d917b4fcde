"""Real handwritten digits: raw 8x8 images from a file of the package, enlarged the same way for training and camera."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from slicebed_agent.errors import AgentError

DATA: Final = Path(__file__).parent / "data"
SIDE: Final = 28
LEVELS: Final = 16  # the raw images count 0..16 dark pixels in each 4x4 cell
HELD_OUT: Final = 0.2

Images = npt.NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class Digits:
    """Raw images and their split.

    Attributes:
        images: (N, 8, 8) uint8, 0..16.
        labels: (N,) uint8, 0..9.
        held_out: (N,) bool, true where the image was kept from training.
        split_seed: the seed that drew `held_out`.
    """

    images: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]
    held_out: npt.NDArray[np.bool_]
    split_seed: int

    def part(self, *, held_out: bool) -> tuple[Images, npt.NDArray[np.uint8]]:
        """Enlarged images (N, 28, 28, 1) and labels (N,) of one side of the split."""
        mask = self.held_out if held_out else ~self.held_out
        return enlarge(self.images[mask]), self.labels[mask]

    def save(self, path: Path) -> None:
        """Write the file that `load` reads."""
        np.savez_compressed(
            path, images=self.images, labels=self.labels, held_out=self.held_out, split_seed=np.int64(self.split_seed)
        )


def split(images: npt.NDArray[Any], labels: npt.NDArray[Any], seed: int) -> Digits:
    """Keep a fifth of the images from training, drawn by `seed`."""
    count = len(labels)
    held_out = np.zeros(count, dtype=np.bool_)
    held_out[np.random.default_rng(seed).permutation(count)[: round(count * HELD_OUT)]] = True
    return Digits(images.astype(np.uint8), labels.astype(np.uint8), held_out, seed)


def enlarge(images: npt.NDArray[np.uint8], side: int = SIDE) -> Images:
    """Enlarge square grey images by bilinear interpolation between pixel centres, edges held.

    Args:
        images: (N, S, S) uint8, 0..16.
        side: side of the result, in pixels.

    Returns:
        (N, side, side, 1) float32 between 0 and 1.
    """
    source = images.shape[-1]
    centres = np.clip((np.arange(side) + 0.5) * source / side - 0.5, 0, source - 1)
    low = np.minimum(centres.astype(np.intp), source - 2)
    weight = (centres - low).astype(np.float32)
    scaled = images.astype(np.float32) / np.float32(LEVELS)
    rows = scaled[:, low, :] * (1 - weight)[:, None] + scaled[:, low + 1, :] * weight[:, None]
    both = rows[:, :, low] * (1 - weight) + rows[:, :, low + 1] * weight
    return np.ascontiguousarray(both[..., None], dtype=np.float32)


@functools.cache
def load(path: Path = DATA / "digits.npz") -> Digits:
    """Read the digits of the package.

    Raises:
        AgentError: the file is missing or is not what `Digits.save` wrote.
    """
    try:
        with np.load(path, allow_pickle=False) as data:
            return Digits(data["images"], data["labels"], data["held_out"], int(data["split_seed"]))
    except (OSError, KeyError, ValueError) as error:
        raise AgentError(
            f"cannot read the digits: {error}", where=str(path), mend="run `slicebed-agent train`"
        ) from error
