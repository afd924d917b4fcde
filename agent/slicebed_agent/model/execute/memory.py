"""How much memory this process holds, and giving back what only its start needed."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

_MADV_DONTNEED: Final = 4
_LIBRARY: Final = re.compile(r"/libtensorflow_(?:cc|framework)\.so")
_MAPPING: Final = re.compile(r"^([0-9a-f]+)-([0-9a-f]+) (\S{4}) \S+ \S+ \S+\s*(.*)$")


@dataclass(frozen=True, slots=True)
class Resident:
    """Memory of a process.

    Attributes:
        bytes: resident, the most common measure.
        anonymous_bytes: of those, what is its own alone.
        file_bytes: of those, pages of files; processes share them, and the kernel may drop them at any time.
        peak_bytes: the most that was ever resident.
    """

    bytes: int
    anonymous_bytes: int
    file_bytes: int
    peak_bytes: int


def resident(pid: int | None = None) -> Resident:
    """Memory of a process, by default of this one; from /proc/PID/status.

    Raises:
        OSError: there is no such process.
    """
    text = Path(f"/proc/{pid or 'self'}/status").read_text(encoding="ascii", errors="replace")
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)

    def of(key: str) -> int:
        return int(lines[key].split()[0]) * 1024

    return Resident(of("VmRSS"), of("RssAnon"), of("RssFile") + of("RssShmem"), of("VmHWM"))


def trim() -> None:
    """Give freed heap back to the kernel; with another C library than glibc, nothing happens."""
    give_back = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if give_back is not None:
        give_back(0)


def settle() -> None:
    """Give back memory that was needed to load and to prepare: freed heap, and library pages that hold no change.

    TensorFlow's libraries are 1.2 GB; registering their kernels touches 300 MB of them, running a model 60 MB. What
    is used again comes back from the page cache by itself.
    """
    trim()
    libc = ctypes.CDLL(None)
    libc.madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    for start, end in _unchanged_library_mappings():
        libc.madvise(start, end - start, _MADV_DONTNEED)


def _unchanged_library_mappings() -> Iterator[tuple[int, int]]:
    """Mappings that cannot be written to and hold no private page: relocated ones do, and dropping those loses them."""
    mapping: tuple[int, int] | None = None
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace").splitlines():
        head = _MAPPING.match(line)
        if head is not None:
            start, end, access, path = head.groups()
            fits = "w" not in access and _LIBRARY.search(path) is not None
            mapping = (int(start, 16), int(end, 16)) if fits else None
        elif mapping is not None and line.startswith("Anonymous:"):
            if line.split()[1] == "0":
                yield mapping
            mapping = None
