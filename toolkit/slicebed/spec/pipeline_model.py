"""The keys of the streaming pipeline in experiment.yml, as pydantic sees them."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, PlainValidator

from slicebed.spec.cuts import Cut, CutRule, cut_of, cut_rule_of
from slicebed.spec.pipeline import Drop, StageKind
from slicebed.spec.problems import did_you_mean
from slicebed.spec.schema import (
    Boolean,
    FileName,
    HostName,
    StrictModel,
    Title,
    number,
    one_of,
    refuse,
    told,
    whole,
)
from slicebed_agent.pipeline.codecs import Codec

MAX_QUEUE = 65_536
_MAX_PIXELS = 8192
_RESOLUTION = re.compile(r"([0-9]{1,5})x([0-9]{1,5})", re.ASCII)
_MAX_SLICES = 64
_MAX_LOOPS = 1_000_000


def cut_value(value: object) -> Cut:
    """A cut as the file holds it; refused where it is none."""
    cut = cut_of(value)
    if cut is None:
        allowed = 'layer numbers joined by hyphens, in quotes, such as "1-8", or a list of names of split points'
        refuse(f"{told(value)} is not a cut", allowed)
    return cut


def _listed(value: object) -> object:
    """Cuts by a rule are none in a list; the rule is read from the file itself."""
    if cut_rule_of(value) is not None:
        return []
    if isinstance(value, (str, dict)):
        hint = did_you_mean(value, CutRule) if isinstance(value, str) else ""
        refuse(f"{told(value)} is no rule{hint}", f"a list of cuts, or {', '.join(CutRule)}")
    return value


def _resolution(value: object) -> tuple[int, int]:
    allowed = f"width x height in pixels, such as 1280x720, each 1 to {_MAX_PIXELS}"
    found = _RESOLUTION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        refuse(f"{told(value)} is not a resolution", allowed)
    width, height = int(found[1]), int(found[2])
    if not (1 <= width <= _MAX_PIXELS and 1 <= height <= _MAX_PIXELS):
        refuse(f"resolution {value} is out of range", allowed)
    return width, height


def _after(value: object) -> int | str:
    allowed = "a slice, counted from 1, or the name of a split point (a layer's number in quotes)"
    if isinstance(value, bool) or not isinstance(value, (int, str)) or value == "":
        refuse(f"{told(value)} is not a place for an exit", allowed)
    if isinstance(value, int) and not 1 <= value <= _MAX_SLICES:
        refuse(f"slice {value} is out of range", allowed)
    return value


def _range(values: list[float]) -> list[float]:
    if len(values) != 2 or values[0] >= values[1]:
        refuse(f"{values} is not a range", "two numbers, those of black and of white, such as [-1, 1]")
    return values


def _some(values: list[str]) -> list[str]:
    if not 1 <= len(values) <= _MAX_SLICES:
        refuse(f"a list of {len(values)} hosts", f"1 to {_MAX_SLICES} hosts, one for each slice")
    return values


Resolution = Annotated[tuple[int, int], PlainValidator(_resolution)]
CutValue = Annotated[Cut, PlainValidator(cut_value)]
CutsValue = Annotated[list[CutValue], BeforeValidator(_listed)]


class PicturesModel(StrictModel):
    """A camera's pictures, and which frame its full queue loses."""

    drop: Annotated[Drop, one_of(Drop)] = Drop.NEWEST
    video: FileName | None = None
    folder: FileName | None = None
    resolution: Resolution | None = None
    loops: Annotated[int, whole(1, _MAX_LOOPS)] | None = None


class StageModel(StrictModel):
    """What waits before a stage."""

    queue: Annotated[int, whole(1, MAX_QUEUE)]
    drop: Annotated[Drop, one_of(Drop)] = Drop.NEWEST


class StagesModel(StrictModel):
    """The queues that are asked for."""

    transformer: StageModel | None = None
    slice: StageModel | None = None
    exit: StageModel | None = None
    classifier: StageModel | None = None
    outbound: StageModel | None = None

    def given(self) -> dict[StageKind, StageModel]:
        """Those of them that are."""
        found = {kind: getattr(self, kind.value) for kind in StageKind}
        return {kind: model for kind, model in found.items() if model is not None}


class PlacementModel(StrictModel):
    """Which host runs which stage."""

    name: Title
    transformer: HostName | None = None
    slices: Annotated[list[HostName], AfterValidator(_some)]
    classifier: HostName | None = None
    cuts: CutsValue | None = None


class ExitModel(StrictModel):
    """An early exit."""

    after: Annotated[int | str, PlainValidator(_after)]
    head: FileName
    threshold: Annotated[float, number(0, 1)] = 0.9


class PixelsModel(StrictModel):
    """How a model wants its pictures."""

    range: Annotated[list[Annotated[float, number(-1e6, 1e6)]], AfterValidator(_range)]
    bgr: Boolean = False


CodecName = Annotated[Codec, one_of(Codec)]
