"""Where pictures come from: a folder's ZIP file, or a painter's brush; videos have a file of their own."""

from __future__ import annotations

import io
import zipfile
from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.media.folder import SUFFIXES, check_sizes
from slicebed_agent.media.transform import resize

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from slicebed_agent.media.transform import Pixels

Shown = tuple[int, "Pixels"]
"""A picture (uint8, height x width x 3, red first), and what it is known by each time it is shown."""

_KEPT_BYTES: Final = 256 * 1024 * 1024
SYNTHETIC_PICTURES: Final = 8
_TILE: Final = 16


class Reel(Protocol):
    """Pictures of one size, in an order."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""

    def once(self) -> Iterator[Shown]:
        """All of them, from the first.

        Raises:
            AgentError: the file is damaged.
        """

    def spread(self, count: int) -> list[Shown]:
        """So many of them, or all, if there are not more, evenly spread.

        Raises:
            AgentError: as of `once`.
        """


class FolderReel:
    """Pictures of a ZIP file, in the order of their names, each resized to the size of all."""

    def __init__(self, path: Path, size: tuple[int, int] | None) -> None:
        """Look into the file.

        Args:
            path: of the ZIP file, as `pack_folder` makes them.
            size: height and width; None: the first picture's.

        Raises:
            AgentConfigError: it is none, holds no pictures, or too many or too large ones.
        """
        self._path, self._where = path, str(path)
        with self._opened() as file:
            entries = sorted(file.infolist(), key=lambda entry: entry.filename)
            self._entries = [entry for entry in entries if entry.filename.lower().endswith(SUFFIXES)]
            check_sizes({entry.filename: entry.file_size for entry in self._entries}, self._where)
            if not self._entries:
                raise AgentConfigError("no pictures", where=self._where, mend=f"they end in {', '.join(SUFFIXES)}")
            self.size = self._read(file, 0, None).shape[:2] if size is None else size
        fits = len(self._entries) * self.size[0] * self.size[1] * 3 <= _KEPT_BYTES
        self._kept: dict[int, Pixels] | None = {} if fits else None

    def once(self) -> Iterator[Shown]:
        """All, decoded once only where they fit into 256 MB."""
        with self._opened() as file:
            for number in range(len(self._entries)):
                yield number, self._picture(file, number)

    def spread(self, count: int) -> list[Shown]:
        """Evenly by their numbers."""
        count = min(count, len(self._entries))
        with self._opened() as file:
            numbers = [len(self._entries) * at // count for at in range(count)]
            return [(number, self._picture(file, number)) for number in numbers]

    def _opened(self) -> zipfile.ZipFile:
        try:
            return zipfile.ZipFile(self._path)
        except (OSError, zipfile.BadZipFile) as error:
            raise AgentConfigError(f"no ZIP file: {error}", where=self._where, mend="check source.folder") from error

    def _picture(self, file: zipfile.ZipFile, number: int) -> Pixels:
        if self._kept is None:
            return self._read(file, number, self.size)
        if number not in self._kept:
            self._kept[number] = self._read(file, number, self.size)
        return self._kept[number]

    def _read(self, file: zipfile.ZipFile, number: int, size: tuple[int, int] | None) -> Pixels:
        from PIL import Image  # noqa: PLC0415 - most agents never see a picture

        entry = self._entries[number]
        try:
            # Not more than is announced: an entry may be a bomb.
            with file.open(entry) as packed:
                data = packed.read(entry.file_size)
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("RGB"))
        except (
            OSError,
            ValueError,
            SyntaxError,
            RuntimeError,
            zipfile.BadZipFile,
            Image.DecompressionBombError,
        ) as error:
            raise AgentConfigError(
                f"{entry.filename} is no picture: {error}", where=self._where, mend="take it out of the folder"
            ) from error
        return pixels if size is None else resize(pixels, *size)


class SyntheticReel:
    """Eight seeded pictures: tiles of colour with some noise, which compress about as photographs do."""

    def __init__(self, size: tuple[int, int], seed: int) -> None:
        """Paint them, `size` being height and width."""
        self.size = size
        self._pictures = [_painted(size, np.random.default_rng([seed, each])) for each in range(SYNTHETIC_PICTURES)]

    def once(self) -> Iterator[Shown]:
        """All eight."""
        return enumerate(self._pictures)

    def spread(self, count: int) -> list[Shown]:
        """All eight, whatever is asked for: they are there anyway."""
        del count
        return list(enumerate(self._pictures))


def _painted(size: tuple[int, int], random: np.random.Generator) -> Pixels:
    height, width = size
    rows, columns = -(-height // _TILE), -(-width // _TILE)
    colours = random.integers(8, 248, (rows, columns, 3), np.uint8)
    tiles = colours.repeat(_TILE, axis=0).repeat(_TILE, axis=1)[:height, :width]
    return tiles + random.integers(-8, 8, tiles.shape, np.int8).view(np.uint8)
