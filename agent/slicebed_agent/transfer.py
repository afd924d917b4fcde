"""Model files on their way into the agent's store: whole, under the hash of their content, or not at all."""

from __future__ import annotations

import errno
import io
import logging
from typing import TYPE_CHECKING, Final

import grpc

from slicebed_agent import config
from slicebed_agent.errors import AgentError, PayloadError
from slicebed_agent.model.files import Store, StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from typing_extensions import Buffer

    from slicebed_agent.rpc.v1 import agent_pb2

_LOG = logging.getLogger(__name__)
CHUNK_BYTES: Final = 1 << 20
"""The most that one message of a transfer holds."""

_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


class NoRoomError(AgentError):
    """The file does not fit: the agent's limit, or the disk."""


class ModelFiles:
    """The store as the control machine sees it."""

    def __init__(self, store: Store, max_bytes: int) -> None:
        """Files of a store, which keeps at most `max_bytes` of those that nobody uses."""
        self._store, self._max_bytes = store, max_bytes

    def has(self, message: agent_pb2.ModelFile) -> bool:
        """Whether a file is there, whole.

        Raises:
            AgentConfigError: the message names no file.
            PayloadError: the file is there and has another size than the message says.
        """
        sha256, size_bytes = config.model_file(message)
        path = self._store.get(sha256)
        if path is not None and (found := path.stat().st_size) != size_bytes:
            raise PayloadError(f"it has {found} bytes, not {size_bytes}", where=f"model {sha256[:12]}")
        return path is not None

    def put(self, messages: Iterator[agent_pb2.ModelChunk]) -> tuple[str, ...]:
        """Take a file in and make room for it: it and those in use stay.

        Returns:
            Hashes of the files that went.

        Raises:
            AgentConfigError: the first message announces no file.
            PayloadError: what came is not what was announced; nothing of it stays.
            NoRoomError: it does not fit; nothing of it stays.
            StoreError: the disk refuses it.
            grpc.RpcError: the stream broke; nothing of what came stays.
        """
        first = next(messages, None)
        if first is None or first.WhichOneof("content") != "file":
            raise PayloadError("the first message announces no file", where="PutModel", mend="send its hash and size")
        sha256, size_bytes = config.model_file(first.file)
        where = f"model {sha256[:12]}"
        if size_bytes > self._max_bytes:
            raise NoRoomError(
                f"it has {size_bytes} bytes, this agent keeps {self._max_bytes}",
                where=where,
                mend="start the agent with a larger --model-bytes",
            )
        chunks = _Chunks(messages, size_bytes, where)
        try:
            self._store.put(io.BufferedReader(chunks, CHUNK_BYTES), sha256, size_bytes=size_bytes)
        except StoreError as error:
            raise _of_store(error, where) from error
        except grpc.RpcError:
            _LOG.warning("%s: the copy broke off after %d of %d bytes", where, chunks.came, size_bytes)
            raise
        with self._store.use(sha256):
            cleaned = self._store.clean(self._max_bytes)
        _LOG.info("%s is here, %d bytes; %d files went to make room", where, size_bytes, len(cleaned.removed))
        return cleaned.removed


def _of_store(error: StoreError, where: str) -> AgentError:
    if error.__cause__ is None:
        return PayloadError(error.what, where=where, mend=error.mend)
    full = isinstance(error.__cause__, OSError) and error.__cause__.errno in _FULL
    return NoRoomError(error.what, where=error.where, mend=error.mend) if full else error


class _Chunks(io.RawIOBase):
    """The data of a transfer's messages as a stream of bytes."""

    def __init__(self, messages: Iterator[agent_pb2.ModelChunk], size_bytes: int, where: str) -> None:
        self._messages, self._size_bytes, self._where = messages, size_bytes, where
        self._rest = memoryview(b"")
        self.came = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer) -> int:
        if not self._rest:
            self._rest = memoryview(self._next())
        target = memoryview(buffer).cast("B")
        count = min(len(target), len(self._rest))
        target[:count], self._rest = self._rest[:count], self._rest[count:]
        return count

    def _next(self) -> bytes:
        message = next(self._messages, None)
        if message is None:
            return b""
        data = message.data
        if message.WhichOneof("content") != "data" or not 0 < len(data) <= CHUNK_BYTES:
            raise PayloadError(
                f"a message after {self.came} bytes holds {len(data)} bytes of data",
                where=self._where,
                mend=f"send 1..{CHUNK_BYTES}",
            )
        self.came += len(data)
        if self.came > self._size_bytes:
            raise PayloadError(f"{self._size_bytes} bytes were announced, more came", where=self._where)
        return data
