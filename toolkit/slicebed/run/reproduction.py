"""The folder of a reproduction: which campaigns it has, and how far each has come."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError
from slicebed.run.store import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

KIND = "reproduce"
WHOLE, FAILED, OPEN = "whole", "failed", "open"
_STATE, _PARTS = "reproduce.json", "parts"
_NAME_ONE = "name a folder that slicebed reproduce made"
_RESTORE = "restore the file as slicebed reproduce wrote it"


@dataclass(frozen=True)
class Reproduction:
    """The folder of a reproduction: its parts' campaigns, and how far each has come."""

    folder: Path

    @property
    def state(self) -> dict[str, Any]:
        """What reproduce.json holds: ``kind``, ``created_at``, ``targets``, ``quick`` and ``parts``.

        Raises:
            SpecError: there is no such file, it is none of a reproduction's, or it is not as it was written.
        """
        if not self.path.is_file():
            raise SpecError("no reproduction", where=str(self.folder), mend=_NAME_ONE)
        try:
            state = json.loads(self.path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise SpecError(f"it cannot be read: {error}", where=str(self.path), mend=_RESTORE) from None
        if not isinstance(state, dict) or state.get("kind") != KIND:
            raise SpecError("it is not of a reproduction", where=str(self.path), mend=_NAME_ONE)
        if wrong := _wrong_in(state):
            raise SpecError(f"{', '.join(wrong)} missing or unreadable", where=str(self.path), mend=_RESTORE)
        return state

    @property
    def path(self) -> Path:
        """Its reproduce.json."""
        return self.folder / _STATE

    @property
    def is_begun(self) -> bool:
        """Whether anything of it is there: its state, or campaigns that have lost it."""
        return self.path.exists() or (self.folder / _PARTS).is_dir()

    @property
    def targets(self) -> tuple[str, ...]:
        """What is reproduced."""
        return tuple(self.state["targets"])

    @property
    def parts(self) -> Mapping[str, Mapping[str, Any]]:
        """Every part in its order: ``status`` (whole, failed, open), ``error`` and ``seconds``."""
        parts: dict[str, dict[str, Any]] = self.state["parts"]
        return parts

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left to do."""
        return all(part["status"] == WHOLE for part in self.parts.values())

    def home_of(self, part: str) -> Path:
        """Where a part's campaigns are."""
        return self.folder / _PARTS / part

    def campaign_of(self, part: str) -> Path | None:
        """The newest campaign of a part, whole or not; None where it was never begun."""
        found = sorted(each.parent for each in self.home_of(part).glob("*/campaign.json"))
        return found[-1] if found else None

    def note(self, part: str, status: str, error: str | None, seconds: float) -> None:
        """Write down how a part ended, on disk before this returns."""
        state = self.state
        before = state["parts"].get(part, {}).get("seconds", 0.0)
        state["parts"][part] = {"status": status, "error": error, "seconds": round(before + seconds, 1)}
        write_json(self.path, state)


def _wrong_in(state: Mapping[str, Any]) -> list[str]:
    """What of a reproduction's state is missing or is not what it should be."""
    kinds = {"targets": list, "quick": bool, "parts": dict}
    wrong = [name for name, kind in kinds.items() if not isinstance(state.get(name), kind) or state[name] in ([], {})]
    if wrong:
        return wrong
    return [f"parts.{name}" for name, part in state["parts"].items() if not _is_part(part)]


def _is_part(part: object) -> bool:
    if not isinstance(part, dict) or part.get("status") not in {WHOLE, FAILED, OPEN} or "error" not in part:
        return False
    return isinstance(part["error"], str | None) and isinstance(part.get("seconds", 0.0), int | float)
