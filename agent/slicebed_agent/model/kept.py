"""A folder of frozen models: their cards, by what each was made from and by the versions that made it."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import secrets
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.card import ModelCard
from slicebed_agent.model.files import Store

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path


class Kept:
    """Several processes may use it at once (flock must work on it)."""

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made when the first model is frozen."""
        self._folder = folder
        self.store = Store(folder / "graphs")

    def find(self, key: str, versions: Mapping[str, str] | None) -> tuple[Path, ModelCard] | None:
        """The graph file and the card of a model.

        Args:
            key: of what it was made from.
            versions: that made it; None: any, the last that did.
        """
        if versions is not None:
            return self._read(self._card_path(key, versions))
        cards = sorted(self._cards.glob(f"{key}.*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
        return next((found for card in reversed(cards) if (found := self._read(card)) is not None), None)

    def add(self, key: str, card: ModelCard) -> None:
        """Keep the card of a graph file that the store has."""
        path = self._card_path(key, card.versions)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f"{path.stem}.{secrets.token_hex(4)}.partial")
        try:
            partial.write_text(card.to_json(), encoding="utf-8")
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self, key: str) -> Iterator[None]:
        """One process at a time freezes a model; the others wait and find it."""
        folder = self._folder / "locks"
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / key).open("wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    @property
    def _cards(self) -> Path:
        return self._folder / "cards"

    def _card_path(self, key: str, versions: Mapping[str, str]) -> Path:
        return self._cards / f"{key}.{hash_of(versions)[:16]}.json"

    def _read(self, card_path: Path) -> tuple[Path, ModelCard] | None:
        try:
            card = ModelCard.from_json(card_path.read_text(encoding="utf-8"), where=str(card_path))
        except (FileNotFoundError, AgentConfigError):
            return None  # a card that somebody damaged is as good as none: the model is frozen again
        path = self.store.get(card.graph_sha256) if card.graph_sha256 is not None else None
        return None if path is None else (path, card)


def hash_of(said: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()
