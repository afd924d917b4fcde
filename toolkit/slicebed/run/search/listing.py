"""What a search looks through, as its tables name it; kept in its folder, for what they are made of without models."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slicebed.errors import RunError
from slicebed.run.store import write_json
from slicebed.split.search.contracts import Boundary, Candidate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from slicebed.run.search.space import Space

FILE = "candidates.json"


@dataclass(frozen=True)
class Listing:
    """A problem and its candidates.

    Attributes:
        id: of the problem.
        model: its name.
        condition: its name.
        candidates: by key, in their order; of their boundaries, tables have the bytes alone.
    """

    id: str
    model: str
    condition: str
    candidates: Mapping[str, Candidate]

    @classmethod
    def of(cls, space: Space) -> Listing:
        """A space's."""
        candidates = {key: variant.candidate for key, variant in space.variants.items()}
        return cls(space.id, space.model, space.condition, MappingProxyType(candidates))

    @classmethod
    def from_plain(cls, name: str, plain: Mapping[str, Any]) -> Listing:
        """As `to_plain` gave it; KeyError, TypeError or AttributeError where it did not."""
        candidates = {key: _candidate(key, each) for key, each in plain["candidates"].items()}
        return cls(name, plain["model"], plain["condition"], MappingProxyType(candidates))

    def to_plain(self) -> dict[str, Any]:
        """As JSON holds it."""
        return {
            "model": self.model,
            "condition": self.condition,
            "candidates": {
                key: {
                    "placement": each.placement,
                    "cut": list(each.cut),
                    "places": list(each.places),
                    "codec": each.codec,
                    "knobs": dict(each.knobs),
                    "bytes_per_frame": [boundary.bytes_per_frame for boundary in each.boundaries],
                }
                for key, each in self.candidates.items()
            },
        }


def write_listings(folder: Path, listings: Iterable[Listing]) -> None:
    """Keep them in a search's folder."""
    write_json(folder / FILE, {each.id: each.to_plain() for each in listings})


def read_listings(folder: Path) -> dict[str, Listing] | None:
    """Those of a search's folder, by id; None where it has none.

    Raises:
        RunError: they cannot be read.
    """
    path = folder / FILE
    if not path.is_file():
        return None
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        return {name: Listing.from_plain(name, plain) for name, plain in told.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(
            f"a search's candidates cannot be read: {type(error).__name__}: {error}",
            where=str(path),
            mend="restore the file; --resume writes it anew",
        ) from None


def _candidate(key: str, plain: Mapping[str, Any]) -> Candidate:
    return Candidate(
        key,
        cut=tuple(plain["cut"]),
        places=tuple(plain["places"]),
        placement=plain["placement"],
        codec=plain["codec"],
        knobs=MappingProxyType(dict(plain["knobs"])),
        boundaries=tuple(Boundary("", "", size) for size in plain["bytes_per_frame"]),
    )
