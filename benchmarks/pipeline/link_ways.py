"""Both processes of each way that `link` compares: one receives, and one sends and measures when it is asked."""

from __future__ import annotations

import json
import socket
import struct
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median as middle
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benchmarks.slicer.workers import BenchmarkError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slicebed_agent.rpc.stream import Call


Begin = Callable[["NDArray[np.float32]"], object]
Await = Callable[[], None]

BIG_ITEMS: Final = 3_200_000
SMALL_ITEMS: Final = 1024
_UNDER_WAY: Final = 4
_SEED: Final = 0


@dataclass(frozen=True)
class Size:
    """Big arrays before the first round; and in each round of one way big arrays, and small ones there and back."""

    rounds: int = 15
    warm: int = 100
    big: int = 20
    small: int = 200


def _announce(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


# Plain TCP: a length, the bytes, and one byte back.


def _serve_tcp() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        _announce(listening.getsockname()[1])
        connection, _ = listening.accept()
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    buffer = memoryview(bytearray(4 * BIG_ITEMS))
    while header := connection.recv(8, socket.MSG_WAITALL):
        (wanted,) = struct.unpack("<Q", header)
        rest = buffer[:wanted]
        while rest:
            rest = rest[connection.recv_into(rest) :]
        np.frombuffer(buffer[:wanted], np.float32)
        connection.sendall(b"k")


def _tcp(port: int) -> tuple[Begin, Await]:
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def begin(array: NDArray[np.float32]) -> None:
        connection.sendall(struct.pack("<Q", array.nbytes))
        connection.sendall(array.data.cast("B"))

    return begin, lambda: _expect(connection.recv(1))


def _expect(answer: bytes) -> None:
    if not answer:
        raise BenchmarkError("the other side closed the connection")


# Unary gRPC with a TensorProto, as the papers' prototypes did.


def _grpc_options() -> list[tuple[str, int]]:
    return [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def _serve_unary() -> None:
    import grpc  # noqa: PLC0415 - this way's processes alone load them
    import tensorflow as tf  # noqa: PLC0415 - as above
    from tensorflow.core.framework import tensor_pb2  # noqa: PLC0415 - as above

    def take(request: bytes, _context: Any) -> bytes:
        tf.make_ndarray(tensor_pb2.TensorProto.FromString(request))
        return b"k"

    server = grpc.server(ThreadPoolExecutor(4), options=_grpc_options())
    handlers = {"Take": grpc.unary_unary_rpc_method_handler(take)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bench", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    _announce(port)
    server.wait_for_termination()


def _unary(port: int, *, one_at_a_time: bool = True) -> tuple[Begin, Await]:
    import grpc  # noqa: PLC0415 - as above
    import tensorflow as tf  # noqa: PLC0415 - as above

    take = grpc.insecure_channel(f"127.0.0.1:{port}", options=_grpc_options()).unary_unary("/bench/Take", None, None)
    under_way: list[Any] = []

    def begin(array: NDArray[np.float32]) -> None:
        call = take.future(tf.make_tensor_proto(array).SerializeToString())
        if one_at_a_time:
            call.result()
        under_way.append(call)

    return begin, lambda: _expect(under_way.pop(0).result())


def _futures(port: int) -> tuple[Begin, Await]:
    return _unary(port, one_at_a_time=False)


# The link's transport alone: Arrow Flight as the agents use it, pieces of 4 MiB, without queue, account and samples.


def _serve_stream() -> None:
    from slicebed_agent.rpc import flight  # noqa: PLC0415 - this way's processes alone load it

    server = flight.serve("127.0.0.1:0", flight.Security.plaintext(), _take_pieces)
    _announce(server.port)
    threading.Event().wait()


def _take_pieces(call: Call) -> None:
    while (message := call.read()) is not None:
        if message.body is None:
            np.frombuffer(message.metadata, np.float32)
        else:
            whole = np.empty(int.from_bytes(message.metadata, "little"), np.uint8)
            filled = 0
            while message is not None and message.body is not None:
                piece = np.frombuffer(message.body, np.uint8)
                np.copyto(whole[filled : filled + len(piece)], piece)
                filled += len(piece)
                message = call.read() if filled < len(whole) else None
        call.write(b"k")


def _stream(port: int) -> tuple[Begin, Await]:
    from slicebed_agent.pipeline.contracts import DEFAULT_PART_BYTES  # noqa: PLC0415 - as above
    from slicebed_agent.rpc import flight  # noqa: PLC0415 - as above
    from slicebed_agent.rpc.stream import INLINE_BYTES  # noqa: PLC0415 - as above

    stream = flight.Client(flight.Security.plaintext()).connect(f"127.0.0.1:{port}", "receiver", b"")

    def begin(array: NDArray[np.float32]) -> None:
        content = array.data.cast("B")
        if array.nbytes <= INLINE_BYTES:
            stream.write(bytes(content))
            return
        for start in range(0, array.nbytes, DEFAULT_PART_BYTES):
            stream.write(array.nbytes.to_bytes(8, "little"), content[start : start + DEFAULT_PART_BYTES])

    def wait() -> None:
        answer = stream.read()
        _expect(b"" if answer is None else answer.metadata)

    return begin, wait


# The link of two agents: what a Run does on both sides, without TensorFlow in it.


def _serve_link() -> None:
    from benchmarks.pipeline.ends import Receiver  # noqa: PLC0415 - this way's processes alone load it

    with tempfile.TemporaryDirectory() as folder, Receiver("127.0.0.1:0", Path(folder)) as receiver:
        _announce(receiver.port)
        threading.Event().wait()


def _link(port: int, folder: Path) -> tuple[Begin, Await]:
    from benchmarks.pipeline.ends import Sender  # noqa: PLC0415 - as above

    sender = Sender(f"127.0.0.1:{port}", folder)
    return sender.begin, sender.wait


_SERVE: Final[dict[str, Callable[[], None]]] = {
    "tcp": _serve_tcp,
    "unary": _serve_unary,
    "futures": _serve_unary,
    "stream": _serve_stream,
    "link": _serve_link,
}
_SEND: Final[dict[str, Callable[[int], tuple[Begin, Await]]]] = {
    "tcp": _tcp,
    "unary": _unary,
    "futures": _futures,
    "stream": _stream,
}


def _measure(way: str, port: int, size: Size) -> None:
    """The sending process: a line of figures for each line it reads."""
    with tempfile.TemporaryDirectory() as folder:
        begin, wait = _link(port, Path(folder)) if way == "link" else _SEND[way](port)
        big = np.random.default_rng(_SEED).standard_normal(BIG_ITEMS).astype(np.float32)
        small = big[:SMALL_ITEMS].copy()
        _throughput(begin, wait, big, size.warm)
        _announce(0)
        for _ in sys.stdin:
            figures = {"mb_per_s": _throughput(begin, wait, big, size.big), "ping_ms": _ping(begin, wait, small, size)}
            sys.stdout.write(json.dumps(figures) + "\n")
            sys.stdout.flush()


def _throughput(begin: Begin, wait: Await, array: NDArray[np.float32], count: int) -> float:
    started = time.perf_counter()
    for number in range(count):
        begin(array)
        if number >= _UNDER_WAY:
            wait()
    for _ in range(min(count, _UNDER_WAY)):
        wait()
    return count * array.nbytes / (time.perf_counter() - started) / 1e6


def _ping(begin: Begin, wait: Await, array: NDArray[np.float32], size: Size) -> float:
    taken = []
    for _ in range(size.small):
        started = time.perf_counter()
        begin(array)
        wait()
        taken.append(time.perf_counter() - started)
    return middle(taken) * 1e3


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        _SERVE[sys.argv[2]]()
    else:
        _measure(sys.argv[2], int(sys.argv[3]), Size(**json.loads(sys.argv[4])))
