"""Arrays over 50 Mbit/s and 42 ms there and back, between two hosts of a lab that `slicebed` raises and sets."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benchmarks.slicer.workers import ROOT, BenchmarkError, environment

from slicebed.lab.state import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTBED: Final = Path(__file__).with_name("shaped.yml")
RATE_BIT_PER_S: Final = 50e6
ONE_WAY_S: Final = 0.021
# An Ethernet frame of 1,514 bytes carries 1,448 bytes of TCP payload when timestamps are on.
GOODPUT_SHARE: Final = 1448 / 1514
SIZES_BYTES: Final = (500_000, 2_000_000, 5_000_000, 13_000_000)
IDLE_S: Final = 2.0
_PORT: Final = 7071
_WARM_UP: Final = 3


@dataclass(frozen=True)
class Transfer:
    """One array on its way.

    Attributes:
        size_bytes: of its values.
        idle: the link had carried nothing for two seconds.
        seconds: from the first byte handed to the transport until the receiver holds the array.
    """

    size_bytes: int
    idle: bool
    seconds: float

    @property
    def ideal_s(self) -> float:
        """At the link's goodput, and one way's delay."""
        return 8 * self.size_bytes / (RATE_BIT_PER_S * GOODPUT_SHARE) + ONE_WAY_S


def transfers(rounds: int, note: Callable[[str], None]) -> list[Transfer]:
    """Send every size in every round, warm and after two idle seconds.

    Raises:
        BenchmarkError: a lab is up already, or the lab cannot be made.
    """
    with _lab(note) as (edge, cloud, address), tempfile.TemporaryDirectory(prefix="slicebed-bench-") as folder:
        note(f"arrays over 50 Mbit/s and 42 ms, {rounds} rounds")
        with _process(cloud, "serve", address, folder) as serving:
            _line(serving)
            with _process(edge, "send", address, folder, str(rounds)) as sending:
                sent = json.loads(_line(sending))
            if serving.stdin is not None:
                serving.stdin.close()
            arrived = json.loads(_line(serving))
    # Both hosts are this machine's namespaces: one monotonic clock.
    return [
        Transfer(each["size_bytes"], each["idle"], (arrived[str(each["frame_id"])] - each["sent_ns"]) / 1e9)
        for each in sent
    ]


@contextlib.contextmanager
def _lab(note: Callable[[str], None]) -> Iterator[tuple[str, str, str]]:
    """The two hosts' namespaces and the receiver's address."""
    if read_state() is not None:
        raise BenchmarkError("a lab is up; run slicebed lab down first")
    note("raising a lab of two hosts")
    try:
        _slicebed("lab", "up", "-t", str(TESTBED))
        _slicebed("apply", "-t", str(TESTBED), "--only", "network")
        state = read_state()
        if state is None:
            raise BenchmarkError("the lab is gone")
        ends = {end.host: end for end in state.plan.link("edge", "cloud").ends}
        spaces = [state.plan.host(name).namespace for name in ("edge", "cloud")]
        yield (spaces[0], spaces[1], f"{ends['cloud'].address.ip}:{_PORT}")
    finally:
        _slicebed("lab", "down")


def _slicebed(*arguments: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("slicebed")), *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:]
        raise BenchmarkError(f"slicebed {' '.join(arguments)} ended with {done.returncode}: {''.join(said)}")


@contextlib.contextmanager
def _process(namespace: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    argv = ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-m", "benchmarks.pipeline.shaped", *arguments]
    process = subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment()
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


def _line(process: subprocess.Popen[str]) -> str:
    line = process.stdout.readline() if process.stdout is not None else ""
    if not line:
        raise BenchmarkError(f"an end of the shaped link ended with {process.wait()}")
    return line


def _serve(address: str, folder: Path) -> None:
    """Take arrays until the input ends; then say when each was there."""
    from benchmarks.pipeline.ends import Receiver  # noqa: PLC0415 - only the ends load the data plane

    with Receiver(address, folder) as receiver:
        _say(None)
        sys.stdin.read()
        _say(receiver.decoded_ns())


def _send(address: str, folder: Path, rounds: int) -> None:
    from benchmarks.pipeline.ends import Sender  # noqa: PLC0415 - as above

    sent = []
    with Sender(address, folder) as sender:
        for _ in range(_WARM_UP):
            sender.send(_array(SIZES_BYTES[-1]))
        for _ in range(rounds):
            for idle in (False, True):
                for size in SIZES_BYTES:
                    time.sleep(IDLE_S if idle else 0.0)
                    frame = sender.send(_array(size))
                    told = {"frame_id": frame.frame_id, "sent_ns": frame.sent_ns}
                    sent.append({**told, "size_bytes": size, "idle": idle})
    _say(sent)


def _array(size_bytes: int) -> Any:
    return np.random.default_rng(size_bytes).standard_normal(size_bytes // 4).astype(np.float32)


def _say(what: Any) -> None:
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


def plain(found: list[Transfer]) -> list[dict[str, Any]]:
    """For the file of raw figures."""
    return [asdict(each) for each in found]


if __name__ == "__main__":
    way, where, into, *more = sys.argv[1:]
    if way == "serve":
        _serve(where, Path(into))
    else:
        _send(where, Path(into), int(more[0]))
