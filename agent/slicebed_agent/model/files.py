"""Model files by the hash of their content: they come whole or not at all, are never loaded damaged, and make room."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import hashlib
import json
import os
import re
import secrets
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final

from slicebed_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK_BYTES: Final = 1 << 20
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_PARTIAL: Final = ".partial"
_MARK: Final = ".verified"


class StoreError(AgentError):
    """A file did not arrive as announced, is not there, or the disk refused it."""


@dataclasses.dataclass(frozen=True, slots=True)
class Cleaned:
    """What `Store.clean` did.

    Attributes:
        removed: hashes of the files that went, the least recently used first.
        in_use: hashes of the files that stayed only because somebody uses them.
        bytes_left: size of all that stayed.
    """

    removed: tuple[str, ...]
    in_use: tuple[str, ...]
    bytes_left: int


class Incoming:
    """A file on its way into the store, under a temporary name; the store gets it by `Store.writing`."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.path = path
        self.size_bytes = 0

    def write(self, data: bytes | memoryview) -> None:
        """Append, and count it into the hash."""
        self._digest.update(data)
        self._stream.write(data)
        self.size_bytes += data.nbytes if isinstance(data, memoryview) else len(data)

    @property
    def sha256(self) -> str:
        """Hash of all that was written."""
        return self._digest.hexdigest()

    def settle(self) -> None:
        """Bring every byte to the disk before the file gets its name."""
        self._stream.flush()
        os.fsync(self._stream.fileno())


class Store:
    """A folder of files named by their SHA-256; several processes may use it at once (flock must work on it).

    Beside a file lies its mark: size and change time of when its content was last compared with its name. The mark's
    own time is the last use.
    """

    def __init__(self, folder: Path) -> None:
        """Use a folder, which is made when the first file comes."""
        self.folder = folder

    def put(self, source: Path | IO[bytes], sha256: str, *, size_bytes: int | None = None) -> Path:
        """Take a file in; one that is there already is left alone and the source is not read.

        Args:
            source: a path, or a stream that is read to its end.
            sha256: hash that its content must have.
            size_bytes: size that it must have, where that was announced: more is refused as soon as it comes.

        Raises:
            StoreError: size or hash is another, or it could not be read or written; nothing of it stays.
        """
        if (there := self.get(sha256)) is not None:
            return there
        try:
            with contextlib.ExitStack() as stack:
                stream = stack.enter_context(source.open("rb")) if isinstance(source, Path) else source
                incoming = stack.enter_context(self.writing())
                while chunk := stream.read(_CHUNK_BYTES):
                    incoming.write(chunk)
                    if size_bytes is not None and incoming.size_bytes > size_bytes:
                        break
                _check_arrival(incoming, sha256, size_bytes)
                return self.keep(incoming)
        except OSError as error:
            raise StoreError(
                f"cannot take the file in: {error}", where=str(self.folder), mend="check the disk's space and rights"
            ) from error

    @contextlib.contextmanager
    def writing(self) -> Iterator[Incoming]:
        """A new file to write to; without `keep` it is gone at the end of the block."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path, stream = self._new_partial()
        try:
            yield Incoming(stream, path)
        finally:
            with stream:
                path.unlink(missing_ok=True)

    def keep(self, incoming: Incoming) -> Path:
        """Give a written file its name, the hash of its content.

        Returns:
            Its path; of a file that another process brought meanwhile, that one's.
        """
        incoming.settle()
        path = self.path_of(incoming.sha256)
        while True:
            try:
                os.link(incoming.path, path)  # unlike a rename it never replaces a file that somebody has in use
            except FileExistsError:
                if self.get(incoming.sha256) is not None:
                    return path
            else:
                break
        incoming.path.unlink()
        _mark(path)
        _settle_folder(self.folder)
        return path

    def get(self, sha256: str) -> Path | None:
        """Path of a file whose content was compared with its name; that counts as a use.

        Content is read again only where size or change time are not those of the last comparison.

        Returns:
            None where there is no such file, or where it was damaged, in which case it is removed.
        """
        path = self.path_of(sha256)
        try:
            if not _mark_holds(path):
                if hash_file(path) != sha256:
                    _remove(path)
                    return None
                _mark(path)
            os.utime(_mark_of(path))
        except FileNotFoundError:
            return None
        return path

    @contextlib.contextmanager
    def use(self, sha256: str) -> Iterator[Path]:
        """Hold a file: while the block runs no `clean`, of any process, removes it.

        Raises:
            StoreError: it is not there, or was damaged.
        """
        while (path := self.get(sha256)) is not None:
            with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
                fcntl.flock(stream, fcntl.LOCK_SH)
                if _is_still(stream, path):
                    yield path
                    return
        raise StoreError(f"no file {sha256[:12]}", where=str(self.folder), mend="copy the model to this host again")

    def clean(self, max_bytes: int) -> Cleaned:
        """Remove the least recently used files until the rest is at most `max_bytes`; never one in use.

        What interrupted copies left behind goes too.
        """
        self.sweep()
        files = sorted(self._files(), key=lambda path: (_last_use_ns(path), path.name))
        sizes = {path: _size_bytes(path) for path in files}
        total = sum(sizes.values())
        removed: list[str] = []
        in_use: list[str] = []
        for path in files:
            if total <= max_bytes:
                break
            if _remove_unused(path):
                removed.append(path.name)
                total -= sizes[path]
            else:
                in_use.append(path.name)
        return Cleaned(tuple(removed), tuple(in_use), total)

    def sweep(self) -> int:
        """Remove what interrupted copies left behind: temporary files that no living process writes.

        Returns:
            How many there were.
        """
        partials = self.folder.glob(f"*{_PARTIAL}") if self.folder.is_dir() else ()
        orphans = [mark for mark in self.folder.glob(f"*{_MARK}") if not mark.with_suffix("").exists()]
        for mark in orphans:
            mark.unlink(missing_ok=True)
        return sum(_remove_unused(path) for path in partials)

    def path_of(self, sha256: str) -> Path:
        """Where a file of this hash lies, whether it is there or not.

        Raises:
            StoreError: this is no SHA-256 in lower-case hexadecimal.
        """
        if not _SHA256.fullmatch(sha256):
            raise StoreError(f"{sha256[:80]!r} is no SHA-256", where="store", mend="give 64 hexadecimal digits")
        return self.folder / sha256

    def _files(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        return [path for path in self.folder.iterdir() if _SHA256.fullmatch(path.name)]

    def _new_partial(self) -> tuple[Path, IO[bytes]]:
        while True:
            path = self.folder / f"{secrets.token_hex(8)}{_PARTIAL}"
            stream = path.open("xb")
            # Its lock, which ends with the process, tells a sweep that somebody is still writing. Between the two
            # lines a sweep may have taken the file for an orphan.
            fcntl.flock(stream, fcntl.LOCK_EX)
            if _is_still(stream, path):
                return path, stream
            stream.close()


def hash_file(path: Path) -> str:
    """SHA-256 of a file's content."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_arrival(incoming: Incoming, sha256: str, size_bytes: int | None) -> None:
    if size_bytes is not None and incoming.size_bytes != size_bytes:
        came = "more came" if incoming.size_bytes > size_bytes else f"{incoming.size_bytes} bytes came"
        raise StoreError(f"{size_bytes} bytes were announced, {came}", where=sha256[:12], mend="copy it again")
    if incoming.sha256 != sha256:
        raise StoreError(
            f"the content's SHA-256 is {incoming.sha256[:12]}..., not the announced one",
            where=sha256[:12],
            mend="copy it again",
        )


def _mark_of(path: Path) -> Path:
    return path.with_name(path.name + _MARK)


def _state(path: Path) -> dict[str, int]:
    stat = path.stat()
    return {"size": stat.st_size, "changed_ns": stat.st_ctime_ns, "inode": stat.st_ino}


def _mark(path: Path) -> None:
    # Not written aside and renamed: half a mark is no mark, and then the content is compared again.
    _mark_of(path).write_text(json.dumps(_state(path)))


def _mark_holds(path: Path) -> bool:
    state = _state(path)
    try:
        return bool(json.loads(_mark_of(path).read_text()) == state)
    except (FileNotFoundError, ValueError):
        return False


def _last_use_ns(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return _mark_of(path).stat().st_mtime_ns
    return 0


def _size_bytes(path: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return path.stat().st_size
    return 0


def _is_still(stream: IO[bytes], path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError):
        return os.path.samestat(os.fstat(stream.fileno()), path.stat())
    return False


def _remove_unused(path: Path) -> bool:
    """Remove a file unless somebody holds its lock."""
    with contextlib.suppress(FileNotFoundError), path.open("rb") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if _is_still(stream, path):
            _remove(path)
    return True


def _remove(path: Path) -> None:
    _mark_of(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _settle_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
