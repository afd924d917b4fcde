"""A folder of pictures as one ZIP file, which is the same wherever and whenever it is packed; standard library only."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import zipfile
from pathlib import Path
from typing import Final

from slicebed_agent.errors import AgentConfigError

SUFFIXES: Final = (".bmp", ".gif", ".jpeg", ".jpg", ".png", ".ppm", ".tif", ".tiff", ".webp")
MAX_PICTURES: Final = 10_000
MAX_PICTURE_BYTES: Final = 64 * 1024 * 1024
"""Of one picture's file."""
MAX_FOLDER_BYTES: Final = 1 << 30

_EPOCH: Final = (1980, 1, 1, 0, 0, 0)  # the first moment that a ZIP file can tell
_MODE: Final = 0o100644 << 16


def pack_folder(folder: Path, into: Path | None = None) -> Path:
    """Pack the pictures of a folder (not of those within it), in the order of their names, as they are.

    Args:
        folder: holds the pictures; files with other suffixes are left out.
        into: where the ZIP file is put; by default the user's cache.

    Returns:
        The ZIP file, called by the hash of its content: the same for the same names and contents.

    Raises:
        AgentConfigError: the folder cannot be read, or holds no pictures, or too many or too large ones.
    """
    pictures = _pictures(folder)
    into = _cache() if into is None else into
    into.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=into, suffix=".part")
    made = Path(name)
    try:
        with os.fdopen(handle, "wb") as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as packed:
            for picture in pictures:
                entry = zipfile.ZipInfo(picture.name, _EPOCH)
                entry.create_system, entry.external_attr = 3, _MODE
                packed.writestr(entry, picture.read_bytes())
        with made.open("rb") as whole:
            sha256 = hashlib.file_digest(whole, "sha256").hexdigest()
        return made.replace(into / f"{sha256}.zip")
    except OSError as error:
        raise AgentConfigError(f"cannot be packed: {error}", where=str(folder), mend="check disk and rights") from error
    finally:
        with contextlib.suppress(FileNotFoundError):
            made.unlink()


def _pictures(folder: Path) -> list[Path]:
    try:
        found = sorted(
            (each for each in folder.iterdir() if each.suffix.lower() in SUFFIXES and each.is_file()),
            key=lambda each: each.name,
        )
        sizes = [each.stat().st_size for each in found]
    except OSError as error:
        raise AgentConfigError(f"cannot be read: {error.strerror}", where=str(folder), mend="check the path") from error
    if not found:
        raise AgentConfigError("no pictures", where=str(folder), mend=f"they end in {', '.join(SUFFIXES)}")
    check_sizes(dict(zip((each.name for each in found), sizes, strict=True)), str(folder))
    return found


def check_sizes(sizes: dict[str, int], where: str) -> None:
    """Hold the sizes of pictures' files, in bytes by name, against the limits.

    Raises:
        AgentConfigError: names what is too much.
    """
    if len(sizes) > MAX_PICTURES:
        raise AgentConfigError(f"{len(sizes)} pictures", where=where, mend=f"at most {MAX_PICTURES}")
    for name, size in sizes.items():
        if size > MAX_PICTURE_BYTES:
            raise AgentConfigError(f"{name} has {size} bytes", where=where, mend=f"at most {MAX_PICTURE_BYTES}")
    if sum(sizes.values()) > MAX_FOLDER_BYTES:
        raise AgentConfigError(
            f"{sum(sizes.values())} bytes of pictures", where=where, mend=f"at most {MAX_FOLDER_BYTES}"
        )


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(home) / "slicebed" / "pictures"
