"""What both sides of a stream have of Arrow Flight; imported, like its client and server, by their first use."""

from __future__ import annotations

import ctypes
import os
import re
import threading
from typing import Any, Final

import numpy as np
import pyarrow as pa
from pyarrow import flight

from slicebed_agent.rpc.stream import Fault, Message, StreamError

_EXPERIMENTS: Final = "GRPC_EXPERIMENTS"
# malloc.h; what a frame's pieces took is kept for the next frame's. The allocator comes to the same by itself, after a
# hundred frames that pay 800 page faults each, twice the time of a frame of 12.8 MB. 32 MiB is the most that it takes.
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
_KEPT_BYTES: Final = 32 * 1024 * 1024
_ALLOCATOR: Final = ctypes.CDLL(None)
_SCHEMA: Final = pa.schema([pa.field("payload", pa.binary(), nullable=False)])
_SAID: Final = re.compile(
    r"(?:.*?with message: )?(.*?)\.? ?(?:Detail: .*|gRPC client debug context: .*|Client context: .*)?$", re.DOTALL
)
_FAULTS: Final = (
    (flight.FlightUnauthenticatedError, Fault.FOREIGN),
    (flight.FlightUnauthorizedError, Fault.FOREIGN),
    (flight.FlightCancelledError, Fault.CANCELLED),
    (pa.ArrowInvalid, Fault.MALFORMED),
)
BROKEN: Final = (pa.ArrowException, flight.FlightError, OSError)


def _start() -> None:
    """Make Arrow's own gRPC read its settings: a ping-pong of 4 kB takes 0.2 ms without its event engine, 0.45 with it.

    The environment is as it was afterwards: the gRPC of Python, in the same process, keeps its own defaults.
    """
    pa.set_memory_pool(pa.system_memory_pool())  # the others keep what was freed
    _ALLOCATOR.mallopt(_M_MMAP_THRESHOLD, _KEPT_BYTES)
    _ALLOCATOR.mallopt(_M_TRIM_THRESHOLD, 2 * _KEPT_BYTES)
    if _EXPERIMENTS in os.environ:
        return
    os.environ[_EXPERIMENTS] = "-event_engine_client,-event_engine_listener,-event_engine_dns"
    try:
        flight.connect("grpc://127.0.0.1:1").close()
    finally:
        del os.environ[_EXPERIMENTS]


_start()


class ArrowStream:
    """What both sides do alike."""

    kept = False

    def __init__(self, reader: Any, writer: Any) -> None:
        self._reader, self._writer = reader, writer
        self._writing = threading.Lock()
        self._begun = self._finished = False

    def write(self, metadata: bytes, body: memoryview | None = None) -> None:
        """See `Stream`."""
        with self._writing:
            # gRPC aborts the process that asks more of a call which it has ended.
            if self._finished:
                raise StreamError(Fault.UNREACHABLE, "the stream has ended")
            try:
                if body is None:
                    self._writer.write_metadata(metadata)
                    return
                if not self._begun:
                    self._begun = True
                    self._writer.begin(_SCHEMA)
                self._writer.write_with_metadata(_batch(body), metadata)
            except BROKEN as error:
                raise stream_error(error) from error

    def read(self) -> Message | None:
        """See `Stream`."""
        try:
            chunk = self._reader.read_chunk()
        except StopIteration:
            return None
        except BROKEN as error:
            raise stream_error(error) from error
        metadata = b"" if chunk.app_metadata is None else chunk.app_metadata.to_pybytes()
        return Message(metadata, None if chunk.data is None else _body(chunk.data))


def give_back() -> None:
    """Return to the system what the allocator keeps of streams that are over."""
    _ALLOCATOR.malloc_trim(0)


def _batch(body: memoryview) -> Any:
    data = pa.py_buffer(body)
    offsets = pa.py_buffer(np.array([0, data.size], np.int32))
    return pa.RecordBatch.from_arrays([pa.Array.from_buffers(pa.binary(), 1, [None, offsets, data])], schema=_SCHEMA)


def _body(batch: Any) -> memoryview:
    """The one value of the one column, not copied. Arrow's reader believes offsets it is sent: they are checked."""
    if batch.num_rows != 1 or batch.schema.types != [pa.binary()] or batch.column(0).null_count:
        raise StreamError(Fault.MALFORMED, f"a record batch of {batch.num_rows} rows, {batch.schema.types}")
    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        raise StreamError(Fault.MALFORMED, said(error)) from error
    # Arrow's buffers call their bytes signed.
    return memoryview(batch.column(0)[0].as_buffer()).cast("B")


def stream_error(error: Exception) -> StreamError:
    """What an error of Flight is to the pipeline."""
    named = bytes(getattr(error, "extra_info", None) or b"").decode(errors="replace")
    if named in set(Fault):
        return StreamError(Fault(named), said(error))
    for kind, fault in _FAULTS:
        if isinstance(error, kind):
            return StreamError(fault, said(error))
    fault = _fault_of_connecting(said(error))
    return StreamError(fault, "the TLS handshake failed" if fault is Fault.FOREIGN else said(error))


def _fault_of_connecting(text: str) -> Fault:
    """All is "unavailable" to gRPC; of a refusal the client of TLS 1.3 sees no more than that the connection closes."""
    if not text.startswith("failed to connect"):
        return Fault.UNREACHABLE
    if any(words in text for words in ("Ssl handshake failed", "peer certificate")):
        return Fault.FOREIGN
    return Fault.HUNG_UP if "Socket closed" in text else Fault.UNREACHABLE


def said(error: Exception) -> str:
    """What an error of Flight says, without the contexts that gRPC adds."""
    text = " ".join(str(error).split())
    found = _SAID.match(text)
    return found.group(1) if found and found.group(1) else text
