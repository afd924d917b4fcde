"""Which stages of a run are on which host, by name; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.spec.pipeline import StageKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.run.exits import Head
    from slicebed.spec.pipeline import Placement


@dataclass(frozen=True)
class Stage:
    """A stage on its host.

    Attributes:
        kind: what it does.
        name: unique on its host: "transformer", "slice", "slice2", "exit", "classifier".
        tier: of a slice: its number in the chain of slices, counted from 0.
        head: of an exit.
    """

    kind: StageKind
    name: str
    tier: int | None = None
    head: Head | None = None


@dataclass(frozen=True)
class HostStages:
    """What one host of a run does with a frame, in this order; the first host may do nothing but show it."""

    host: str
    stages: tuple[Stage, ...]


def lay_out(placement: Placement, camera: str, heads: Mapping[int, Head]) -> tuple[HostStages, ...]:
    """Put every stage where the placement says.

    Args:
        placement: where slices, transformer and classifier are.
        camera: the chain's first host.
        heads: early exits by the slice that they follow, counted from 0.

    Returns:
        The hosts that frames pass, first to last.
    """
    spots: list[tuple[str, StageKind, int | None]] = []
    if placement.transformer is not None:
        spots.append((placement.transformer, StageKind.TRANSFORMER, None))
    for tier, host in enumerate(placement.slices):
        spots.append((host, StageKind.SLICE, tier))
        if tier in heads:
            spots.append((host, StageKind.EXIT, tier))
    if placement.classifier is not None:
        spots.append((placement.classifier, StageKind.CLASSIFIER, None))
    return tuple(
        HostStages(host, _named([(kind, tier) for at, kind, tier in spots if at == host], heads))
        for host in placement.chain(camera)
    )


def _named(spots: list[tuple[StageKind, int | None]], heads: Mapping[int, Head]) -> tuple[Stage, ...]:
    """The stages of one host; the second of a kind has a 2 behind its name."""
    stages: list[Stage] = []
    for kind, tier in spots:
        before = sum(stage.kind is kind for stage in stages)
        name = kind.value if before == 0 else f"{kind.value}{before + 1}"
        is_exit = kind is StageKind.EXIT and tier is not None
        stages.append(Stage(kind, name, tier, heads[tier] if is_exit and tier is not None else None))
    return tuple(stages)
