"""The host tools: the part of Slicebed that runs on a host, as one archive of pure Python; no package index."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

import slicebed_agent

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slicebed.testbed.checkout import Checkout

# Where the role host_tools unpacks the archive; PYTHONPATH of everything that runs there.
HOST_DIRECTORY = "/opt/slicebed"
ARCHIVE = "host-tools.tar.gz"
CHECKSUM = "host-tools.sha256"
_OWN = ("__init__.py", "errors.py", "host")


def build_host_tools(checkout: Checkout) -> Path:
    """Pack slicebed_agent.host of this very environment; give the folder of archive and checksum.

    The archive is the same, byte for byte, as long as its files are.
    """
    folder = checkout.build / "host_tools"
    archive = _pack()
    checksum = hashlib.sha256(archive).hexdigest()
    mark = folder / CHECKSUM
    if not (mark.is_file() and mark.read_text() == checksum and (folder / ARCHIVE).is_file()):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ARCHIVE).write_bytes(archive)
        mark.write_text(checksum)
    return folder


def _pack() -> bytes:
    packed = io.BytesIO()
    # A time stamp in the header would make every archive another one.
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as compressed,
        tarfile.open(fileobj=compressed, mode="w", format=tarfile.GNU_FORMAT) as archive,
    ):
        for path, name in _files():
            data = path.read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(data), 0o644
            archive.addfile(member, io.BytesIO(data))
    return packed.getvalue()


def _files() -> Iterator[tuple[Path, str]]:
    package = Path(slicebed_agent.__file__).parent
    for root in (package / name for name in _OWN):
        for path in [root] if root.is_file() else sorted(root.rglob("*.py")):
            yield path, f"lib/{path.relative_to(package.parent).as_posix()}"
