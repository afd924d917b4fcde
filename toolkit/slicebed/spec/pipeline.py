"""The streaming pipeline as an experiment asks for it: stages on hosts, queues between them, codec, early exits."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed_agent.pipeline.codecs import Codec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slicebed.spec.cuts import Cut, CutRule


class Drop(StrEnum):
    """Which frame a full queue loses; with never, whoever brings one waits."""

    NEWEST = "newest"
    OLDEST = "oldest"
    NEVER = "never"


class StageKind(StrEnum):
    """What may have a queue of its own: the stages of a host, and its sender."""

    TRANSFORMER = "transformer"
    SLICE = "slice"
    EXIT = "exit"
    CLASSIFIER = "classifier"
    OUTBOUND = "outbound"


@dataclass(frozen=True)
class StageQueue:
    """What waits before a stage, in frames."""

    places: int
    drop: Drop = Drop.NEWEST


@dataclass(frozen=True)
class Pixels:
    """How a model wants its pictures: the values that black and white become, and whether blue comes first."""

    lowest: float
    highest: float
    bgr: bool = False


@dataclass(frozen=True)
class Exit:
    """An early exit.

    Attributes:
        after: a slice of the chain, counted from 1, or the split point that the slice before it ends at.
        head: its frozen graph.
        threshold: a frame of whose images each has a class at least so likely ends there.
        place: ``file:line:column``; for errors.
    """

    after: int | str
    head: Path
    threshold: float
    place: str | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Placement:
    """Which host runs which stage; the camera is always on the chain's first.

    Attributes:
        name: empty where the experiment names no placements: then each host of the chain runs one slice.
        slices: the host of every slice, in order; a host may have several that follow each other.
        transformer: where pictures become what the model is fed; None where the camera gives that already.
        classifier: where answers become labels; None for nowhere.
        cuts: each as many split points as there are slices, less one.
        rule: by which the cuts of two slices are found in the opened model; until then there are none.
    """

    name: str
    slices: tuple[str, ...]
    transformer: str | None
    classifier: str | None
    cuts: tuple[Cut, ...]
    rule: CutRule | None = None

    def chain(self, camera: str) -> tuple[str, ...]:
        """The hosts that frames pass, first to last, each once."""
        after = [host for host in (self.transformer, *self.slices, self.classifier) if host is not None]
        return tuple(dict.fromkeys((camera, *after)))

    def pairs(self, camera: str) -> tuple[tuple[str, str], ...]:
        """The links that frames pass."""
        return tuple(pairwise(self.chain(camera)))

    def to_plain(self) -> dict[str, object]:
        """As manifests hold it."""
        return {
            "name": self.name,
            "transformer": self.transformer,
            "slices": list(self.slices),
            "classifier": self.classifier,
            "cuts": [cut.label for cut in self.cuts],
            "cut_rule": self.rule,
        }


@dataclass(frozen=True)
class Pipeline:
    """What an experiment says of the pipeline besides where its stages are.

    Attributes:
        codec: of every link.
        queues: those that are asked for; any other is as `Queues` says.
        exits: early exits.
        pixels: None where the model's own are known.
        reconnect_us: how long a broken link is waited for; 0 ends the run.
    """

    codec: Codec = Codec.TENSOR_PROTO
    queues: Mapping[StageKind, StageQueue] = field(default_factory=lambda: MappingProxyType({}))
    exits: tuple[Exit, ...] = ()
    pixels: Pixels | None = None
    reconnect_us: int = 0

    def to_plain(self) -> dict[str, object]:
        """As manifests hold it."""
        return {
            "codec": self.codec.value,
            "stages": {
                kind.value: {"queue": queue.places, "drop": queue.drop.value} for kind, queue in self.queues.items()
            },
            "exits": [
                {"after": each.after, "head": str(each.head), "threshold": each.threshold} for each in self.exits
            ],
            "pixels": None
            if self.pixels is None
            else {"range": [self.pixels.lowest, self.pixels.highest], "bgr": self.pixels.bgr},
            "reconnect_us": self.reconnect_us,
        }


def pairs_of(placements: Sequence[Placement], camera: str) -> tuple[tuple[str, str], ...]:
    """Every link that frames of any placement pass, in the order of the placements."""
    return tuple(dict.fromkeys(pair for placement in placements for pair in placement.pairs(camera)))
