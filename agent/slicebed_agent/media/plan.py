"""What a camera is asked to show, and which answers are expected of it."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from slicebed_agent.model.reference import Images

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed_agent.media.transform import Transform

__all__ = ["CheckPlan", "Images", "ShowPlan"]


@dataclasses.dataclass(frozen=True)
class CheckPlan:
    """Which answers to expect: the whole model's.

    Attributes:
        model_sha256: of its file.
        feeds: tensors (``operator:k``) that it is fed.
        answer: tensor that the chain's answers are held against.
        transform: what makes its input of pictures; None of DIGITS and RANDOM, which are its input.
        pictures: of VIDEO and FOLDER: so many, evenly spread, are checked; 0: eight. All of SYNTHETIC are.
    """

    model_sha256: str
    feeds: tuple[str, ...]
    answer: str
    transform: Transform | None = None
    pictures: int = 0


@dataclasses.dataclass(frozen=True)
class ShowPlan:
    """What the camera shows.

    Attributes:
        images: which.
        batch_size: images in a frame.
        seed: draws DIGITS and RANDOM for each frame, and paints SYNTHETIC.
        check: which answers to expect; DIGITS and RANDOM cannot do without, as it says what the model is fed.
        file: of VIDEO, or the ZIP file of FOLDER.
        height: of pictures, together with `width`; 0 and 0: those of the film, or of the folder's first picture.
        width: see `height`.
        loops: how often VIDEO or FOLDER is shown; 0: without end.
    """

    images: Images
    batch_size: int
    seed: int
    check: CheckPlan | None = None
    file: Path | None = None
    height: int = 0
    width: int = 0
    loops: int = 0
