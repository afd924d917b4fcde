"""What a link costs: arrays from one process to another over loopback, by plain TCP, unary gRPC, and Slicebed's link.

Each way has two processes of its own, so that no library of one burdens another. A round asks every way once, in turn.
The receiver holds a float32 array before it answers; the small message is sent only when the one before was answered.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median as middle
from typing import IO, TYPE_CHECKING, Any, Final

import numpy as np
from benchmarks.network.stats import Estimate, median, ratio
from benchmarks.shared.terminal import exit_code, note, say

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slicebed_agent.pipeline.contracts import Ending, Frame, Result, Tensors

Begin = Callable[["NDArray[np.float32]"], None]
Await = Callable[[], None]

BIG_ITEMS: Final = 3_200_000
SMALL_ITEMS: Final = 1024
_UNDER_WAY: Final = 4
_START_S: Final = 120.0
_SEED: Final = 0


class LinkBenchError(Exception):
    """A process of the benchmark ended early."""


@dataclass(frozen=True)
class Size:
    """Big arrays before the first round; and in each round of one way big arrays, and small ones there and back."""

    rounds: int = 15
    warm: int = 100
    big: int = 20
    small: int = 200


@dataclass(frozen=True)
class Figures:
    """Of one way: MB/s and ms of each round."""

    mb_per_s: tuple[float, ...]
    ping_ms: tuple[float, ...]


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
        raise LinkBenchError("the other side closed the connection")


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


def _unary(port: int) -> tuple[Begin, Await]:
    import grpc  # noqa: PLC0415 - as above
    import tensorflow as tf  # noqa: PLC0415 - as above

    take = grpc.insecure_channel(f"127.0.0.1:{port}", options=_grpc_options()).unary_unary("/bench/Take", None, None)
    under_way: list[Any] = []

    def begin(array: NDArray[np.float32]) -> None:
        under_way.append(take.future(tf.make_tensor_proto(array).SerializeToString()))

    return begin, lambda: _expect(under_way.pop(0).result())


# The link of two agents: what a Run does on both sides, without TensorFlow in it.


def _serve_link() -> None:
    from slicebed_agent import codec  # noqa: PLC0415 - this way's processes alone load them
    from slicebed_agent.data import DataPlane  # noqa: PLC0415 - as above
    from slicebed_agent.pipeline.contracts import Bench, QueuePlan, RunPlan, StagePlan  # noqa: PLC0415 - as above
    from slicebed_agent.pipeline.run import Run  # noqa: PLC0415 - as above
    from slicebed_agent.rpc.flight import Security  # noqa: PLC0415 - as above

    stage = StagePlan("slice", QueuePlan(16))
    plan = RunPlan("bench", "cloud", "edge", None, (stage,), None)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench({"slice": _untouched}, codec.decode, lambda _: b"k")
        run = Run(plan, bench, None, Path(folder) / "cloud.jsonl")
        plane = DataPlane(lambda: run, Security.plaintext())
        _announce(plane.listen("127.0.0.1:0"))
        threading.Event().wait()


def _untouched(_version: int, tensors: Tensors) -> Result:
    from slicebed_agent.pipeline.contracts import Result  # noqa: PLC0415 - as above

    return Result(tensors)


class _Link:
    """The sending side; it is told of each frame's end, as the agent with the camera is."""

    def __init__(self, port: int, folder: Path) -> None:
        from slicebed_agent import codec  # noqa: PLC0415 - as above
        from slicebed_agent.pipeline import contracts  # noqa: PLC0415 - as above
        from slicebed_agent.pipeline.ledger import Ledger  # noqa: PLC0415 - as above
        from slicebed_agent.pipeline.link import Link  # noqa: PLC0415 - as above
        from slicebed_agent.pipeline.samples import Spool  # noqa: PLC0415 - as above
        from slicebed_agent.rpc import flight  # noqa: PLC0415 - as above

        address = f"127.0.0.1:{port}"
        to = contracts.LinkPlan("cloud", address, contracts.DEFAULT_PART_BYTES, contracts.QueuePlan(2 * _UNDER_WAY))
        plan = contracts.RunPlan("bench", "edge", None, None, (), to)
        self._ended = threading.Semaphore(0)
        self._frame, self._numbers = contracts.Frame, itertools.count()
        self._completed = contracts.End.COMPLETED
        self._failed: Ending | None = None
        self._ledger = Ledger("bench", "edge", Spool(folder / "edge.jsonl"), self._record)
        self._link = Link(
            plan,
            codec.encoder(contracts.Codec.RAW, lambda: 0, _ignore),
            functools.partial(flight.connect, address, "cloud", flight.Security.plaintext()),
            self._ledger,
            _ignore,
            _ignore,
        )

    def _record(self, _frame: Frame, ending: Ending) -> Any:
        if ending.end is not self._completed:
            self._failed = ending
        self._ended.release()
        return ending.end

    def begin(self, array: NDArray[np.float32]) -> None:
        now = time.monotonic_ns()
        frame = self._frame(next(self._numbers), now, now, "source")
        self._ledger.opened(frame)
        self._link.deliver(frame, (array,))

    def wait(self) -> None:
        self._ended.acquire()
        if self._failed is not None:
            raise LinkBenchError(str(self._failed))


def _link(port: int, folder: Path) -> tuple[Begin, Await]:
    link = _Link(port, folder)
    return link.begin, link.wait


def _ignore(_: object) -> None:
    """Take it and forget it."""


_SERVE: Final[dict[str, Callable[[], None]]] = {"tcp": _serve_tcp, "unary": _serve_unary, "link": _serve_link}
NAMES: Final = {"tcp": "plain TCP", "unary": "unary gRPC, make_tensor_proto", "link": "Slicebed's link"}


def _measure(way: str, port: int, size: Size) -> None:
    """The sending process: a line of figures for each line it reads."""
    with tempfile.TemporaryDirectory() as folder:
        begin, wait = _link(port, Path(folder)) if way == "link" else (_tcp if way == "tcp" else _unary)(port)
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


# The process that asks.


def _announce(port: int) -> None:
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()


class _Way:
    """One way's two processes."""

    def __init__(self, way: str, size: Size, stack: contextlib.ExitStack) -> None:
        self.name = way
        self._stack = stack
        port = self._answer(self._start("serve", way))
        self._sender = self._start("send", way, str(port), json.dumps(asdict(size)))
        self._answer(self._sender)

    def _start(self, *arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.pipeline.link", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
        )
        self._stack.callback(_end, process)
        return process

    def _answer(self, process: subprocess.Popen[str]) -> Any:
        line = _pipe(process.stdout).readline()
        if not line:
            raise LinkBenchError(f"a process of {NAMES[self.name]} ended with code {process.wait(_START_S)}")
        return json.loads(line)

    def round(self) -> tuple[float, float]:
        """MB/s and ms of one round."""
        asking = _pipe(self._sender.stdin)
        asking.write("\n")
        asking.flush()
        figures = self._answer(self._sender)
        return figures["mb_per_s"], figures["ping_ms"]


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise LinkBenchError("a process without pipes")
    return pipe


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            pipe.close()


def compare(size: Size) -> dict[str, Figures]:
    """Every way in every round, the order turned by one each time; the first round is not counted.

    Raises:
        LinkBenchError: a process ended early.
    """
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in NAMES}
    with contextlib.ExitStack() as stack:
        ways = [_Way(way, size, stack) for way in NAMES]
        for number in range(size.rounds + 1):
            note(f"round {number} of {size.rounds}")
            turned = ways[number % len(ways) :] + ways[: number % len(ways)]
            for way in turned:
                figures = way.round()
                if number:
                    found[way.name].append(figures)
    return {way: Figures(*map(tuple, zip(*rows, strict=True))) for way, rows in found.items()}


def table(found: dict[str, Figures]) -> str:
    """Medians with their intervals, and how each way compares with plain TCP round by round."""
    rows = [f"{'':32}{'12.8 MB float32, MB/s':>26}{'of plain TCP':>22}{'4 kB there and back, ms':>30}"]
    for way, figures in found.items():
        share = ratio(figures.mb_per_s, found["tcp"].mb_per_s)
        rows.append(
            f"{NAMES[way]:32}{_told(median(figures.mb_per_s), 0):>26}{_told(share, 2):>22}"
            f"{_told(median(figures.ping_ms), 3):>30}"
        )
    over = ratio(found["link"].mb_per_s, found["unary"].mb_per_s)
    return "\n".join([*rows, "", f"Slicebed's link over unary gRPC: {_told(over, 2)} x"])


def _told(estimate: Estimate, digits: int) -> str:
    return f"{estimate.median:,.{digits}f} ({estimate.low:,.{digits}f}..{estimate.high:,.{digits}f})"


def bench(size: Size, out: Path | None) -> None:
    """Measure, print, write."""
    say("One array from a process to another over loopback", heading=True)
    found = compare(size)
    say(table(found))
    if out is not None:
        out.write_text(json.dumps({way: asdict(figures) for way, figures in found.items()}, indent=1) + "\n", "utf-8")


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark, or one of its processes; the exit code."""
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["serve"]:
        _SERVE[given[1]]()
        return 0
    if given[:1] == ["send"]:
        _measure(given[1], int(given[2]), Size(**json.loads(given[3])))
        return 0
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline.link", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every raw figure to FILE as JSON")
    parser.add_argument("--quick", action="store_true", help="few rounds: shows that it works")
    options = parser.parse_args(given)
    size = Size(rounds=3, warm=5, big=5, small=50) if options.quick else Size()
    return exit_code("bench-link", lambda: bench(size, options.out), (LinkBenchError,), stopped="stopped")


if __name__ == "__main__":
    sys.exit(main())
