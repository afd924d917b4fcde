"""A link of 50 Mbit/s and 42 ms there and back between two hosts of a lab that `slicebed` raises and sets."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from benchmarks.slicer.workers import ROOT, BenchmarkError, environment

from slicebed.lab.state import read_state

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TESTBED: Final = Path(__file__).with_name("shaped.yml")
RATE_BIT_PER_S: Final = 50e6
ONE_WAY_S: Final = 0.021
# An Ethernet frame of 1,514 bytes carries 1,448 bytes of TCP payload when timestamps are on.
GOODPUT_SHARE: Final = 1448 / 1514
_PORT: Final = 7071
_BUCKET_BYTES: Final = 6250


def cross(
    sender: str, arguments: list[str], note: Callable[[str], None]
) -> tuple[list[dict[str, Any]], dict[int, int]]:
    """Let a process send arrays from one host to the other, over the link of two agents.

    Args:
        sender: module that is run with the receiver's address, a folder for its samples and the arguments, and prints
            a JSON list of what it sent.
        arguments: of its own.
        note: told what is done.

    Returns:
        What the sender printed, and when each frame was decoded at the other end (monotonic, ns): both hosts are
        namespaces of this machine and have one clock.

    Raises:
        BenchmarkError: a lab is up already, the lab cannot be made, or an end of the link failed.
    """
    with _lab(note) as (edge, cloud, address), tempfile.TemporaryDirectory(prefix="slicebed-bench-") as folder:
        note("sending arrays over 50 Mbit/s and 42 ms")
        with _process(cloud, "benchmarks.pipeline.lab_link", address, folder) as serving:
            _line(serving)
            with _process(edge, sender, address, folder, *arguments) as sending:
                sent = json.loads(_line(sending))
            if serving.stdin is not None:
                serving.stdin.close()
            arrived = json.loads(_line(serving))
    return sent, {int(frame_id): at_ns for frame_id, at_ns in arrived.items()}


def say(what: Any) -> None:
    """Hand a line of JSON to whoever started this process."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


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
        for end in ends.values():
            _sharpen(state.plan.host(end.host).namespace, end.interface)
        spaces = [state.plan.host(name).namespace for name in ("edge", "cloud")]
        yield (spaces[0], spaces[1], f"{ends['cloud'].address.ip}:{_PORT}")
    finally:
        _slicebed("lab", "down")


def _sharpen(namespace: str, device: str) -> None:
    """Let the rate hold for short messages too: a bucket of 1 ms, and no packets of 64 kB.

    Slicebed's own bucket of 10 ms is for machines whose timers are late; here a frame of 60 kB would pass unseen.
    """
    rate = f"rate {RATE_BIT_PER_S:.0f}bit burst {_BUCKET_BYTES} cburst {_BUCKET_BYTES}"
    for line in (
        f"ip link set dev {device} gso_max_segs 1",
        f"tc class change dev {device} parent 5b1d:1 classid 5b1d:10 htb {rate}",
    ):
        done = subprocess.run(
            ["nsenter", f"--net=/run/netns/{namespace}", *line.split()], capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise BenchmarkError(f"{line}: {done.stderr.strip()}")


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
def _process(namespace: str, module: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    argv = ["nsenter", f"--net=/run/netns/{namespace}", sys.executable, "-m", module, *arguments]
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
        say(None)
        sys.stdin.read()
        say(receiver.decoded_ns())


if __name__ == "__main__":
    _serve(sys.argv[1], Path(sys.argv[2]))
