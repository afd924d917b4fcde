"""A file that agents need for a run, known by the hash of its content."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.errors import SpecError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class RunFile:
    """A file of the control machine.

    Attributes:
        name: for whoever waits.
        path: where it is.
        sha256: of its content.
        size_bytes: its size.
    """

    name: str
    path: Path
    sha256: str
    size_bytes: int


def read_run_file(path: Path, *, where: str | None = None) -> RunFile:
    """Hash a file.

    Args:
        path: the file.
        where: what asks for it, for an error.

    Raises:
        SpecError: it cannot be read.
    """
    try:
        with path.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        return RunFile(path.name, path, digest, path.stat().st_size)
    except OSError as error:
        raise SpecError(f"{path} cannot be read: {error.strerror}", where=where, mend="check the file") from error
