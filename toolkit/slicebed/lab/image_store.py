"""The parent's image store, which every host sees read-only.

A host's podman refuses an additional store that was never used, and cannot begin it through a read-only mount; so a
store that is not there yet is begun here, and removed again by ``down`` while it still holds nothing.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from slicebed.lab.paths import PARENT_IMAGE_STORE

if TYPE_CHECKING:
    from pathlib import Path

# What containers/storage itself makes first (store.go, images.go, layers.go: newROImageStore and newROLayerStore).
_DIRECTORIES = (PARENT_IMAGE_STORE / "overlay-images", PARENT_IMAGE_STORE / "overlay-layers")
_FILES = (_DIRECTORIES[0] / "images.lock", _DIRECTORIES[1] / "layers.lock")
_SKELETON = {*_DIRECTORIES, *_FILES}


def begin_store() -> None:
    """Make what a read-only reader needs; an existing store stays as it is."""
    PARENT_IMAGE_STORE.mkdir(mode=0o700, parents=True, exist_ok=True)
    for directory in _DIRECTORIES:
        directory.mkdir(mode=0o700, exist_ok=True)
    for file in _FILES:
        file.touch(mode=0o644)


def remove_unused_store(absent_before: tuple[Path, ...]) -> None:
    """Remove what begin_store made, if nobody has put anything beside it since."""
    if PARENT_IMAGE_STORE not in absent_before or not PARENT_IMAGE_STORE.is_dir():
        return
    if set(PARENT_IMAGE_STORE.rglob("*")) <= _SKELETON:
        for file in _FILES:
            file.unlink(missing_ok=True)
        for directory in _DIRECTORIES:
            with suppress(FileNotFoundError):
                directory.rmdir()
