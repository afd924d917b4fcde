"""Two network namespaces and the veth between them, and the processes that work inside; all gone when it closes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from benchmarks.network import wishes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

ROOT = Path(__file__).resolve().parents[2]
_INSIDE = Path(__file__).with_name("inside.py")
_PREFIX = "slicebed-bench-"
_NAMESPACES = Path("/run/netns")
_IPV6 = Path("/proc/sys/net/ipv6")
_FAR = "far"
_PORT = 9000


class BenchmarkError(Exception):
    """The benchmark cannot go on: a tool is missing, a helper died, or the harness lost track of what it did."""


@dataclass(frozen=True)
class Ran:
    """Commands run one after the other: the time they took, their exit codes and what they said on standard error."""

    seconds: float
    codes: tuple[int, ...]
    errors: str
    output: str = ""

    @property
    def last_error(self) -> str:
        """The last line that speaks of an error, else the last line."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else "")


class Helper:
    """A process inside a namespace that answers lines of JSON; ends with the benchmark, however that ends."""

    def __init__(self, namespace: str, argv: Sequence[str]) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SSH_")}
        # A session of its own: Ctrl-C reaches the benchmark, which then ends its helpers in order.
        self._process = subprocess.Popen(
            ["nsenter", f"--net={_NAMESPACES / namespace}", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=environment,
            start_new_session=True,
        )

    def ask(self, request: Mapping[str, Any] | None = None) -> Any:
        """Send a request (None is an empty line) and wait for the answer."""
        self.tell(request)
        return self.hear()

    def tell(self, request: Mapping[str, Any] | None = None) -> None:
        """Send a request."""
        assert self._process.stdin is not None  # noqa: S101 - opened above; for the type checker
        self._process.stdin.write(("" if request is None else json.dumps(request)) + "\n")
        self._process.stdin.flush()

    def hear(self) -> Any:
        """Wait for an answer.

        Raises:
            BenchmarkError: the helper ended instead.
        """
        assert self._process.stdout is not None  # noqa: S101 - opened above; for the type checker
        line = self._process.stdout.readline()
        if not line:
            raise BenchmarkError(f"{' '.join(map(str, self._process.args[2:]))}: ended with {self._process.wait()}")  # type: ignore[index]
        return json.loads(line)

    def close(self) -> None:
        """End the process and whatever it runs."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.communicate()


class Room:
    """A host under test and the other end of its wire.

    Promises: only devices that it made are ever touched, and they go with it, also on Ctrl-C.
    """

    def __init__(self) -> None:
        name = f"{_PREFIX}{os.getpid()}"
        self.host, self.other = f"{name}-a", f"{name}-b"
        self._helpers: list[Helper] = []

    def __enter__(self) -> Self:
        """Make the namespaces; those of benchmarks that were killed go first."""
        sweep()
        try:
            for namespace in (self.host, self.other):
                _ip("netns", "add", namespace)
                _ip("-n", namespace, "link", "set", "lo", "up")
                # Neighbour discovery of IPv6 would go through the shaped device.
                if _IPV6.exists():
                    quiet = ["sysctl", "-q", "-w", "net.ipv6.conf.default.disable_ipv6=1"]
                    subprocess.run(["nsenter", f"--net={_NAMESPACES / namespace}", *quiet], check=True)
            near, far = wishes.DEVICE, _FAR
            _ip("-n", self.host, "link", "add", "name", near, "type", "veth", "peer", "name", far, "netns", self.other)
            bits = wishes.PREFIX_BITS
            self._up(self.host, near, f"{wishes.OWN_ADDRESS}/{bits}")
            self._up(self.other, far, f"{wishes.peers(1, 0)[0].address}/{bits}")
            self._shell = self.helper(sys.executable, str(_INSIDE), "shell")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Remove everything."""
        self.close()

    def close(self) -> None:
        """End the helpers and remove the namespaces."""
        for helper in self._helpers:
            helper.close()
        for namespace in (self.host, self.other):
            if (_NAMESPACES / namespace).exists():
                _ip("netns", "delete", namespace)

    def helper(self, *argv: str) -> Helper:
        """Start a process in the host's namespace that lives as long as the room."""
        helper = Helper(self.host, argv)
        self._helpers.append(helper)
        return helper

    def observer(self) -> Helper:
        """Start the listener that counts what the kernel announces of traffic control."""
        observer = self.helper(sys.executable, str(_INSIDE), "observe")
        observer.hear()
        return observer

    def flow(self, address: str, packets_per_s: int) -> Flow:
        """Start a flow of numbered packets from the host to the other end."""
        return Flow(self, address, packets_per_s)

    def run(self, *commands: Sequence[str], env: Mapping[str, str] | None = None, output: bool = False) -> Ran:
        """Run commands on the host, one after the other, whatever their exit codes."""
        request = {
            "commands": [list(map(str, command)) for command in commands],
            "env": None if env is None else dict(env),
            "cwd": str(ROOT),
            "output": output,
        }
        answer = self._shell.ask(request)
        return Ran(answer["seconds"], tuple(answer["codes"]), answer["errors"], answer["output"])

    def bare(self) -> None:
        """Take every queueing discipline off the device."""
        for parent in ("root", "ingress", "clsact"):
            self.run(["tc", "qdisc", "delete", "dev", wishes.DEVICE, parent])
        left = [each["kind"] for each in self.qdiscs() if each["kind"] not in ("noqueue", "pfifo_fast", "mq")]
        if left:
            raise BenchmarkError(f"{wishes.DEVICE} still carries {left}")

    def qdiscs(self) -> list[dict[str, Any]]:
        """What the kernel holds on the device."""
        found = self.run(["tc", "-s", "-j", "qdisc", "show", "dev", wishes.DEVICE], output=True)
        held: list[dict[str, Any]] = json.loads(found.output)
        return held

    def classes(self) -> int:
        """How many HTB classes the kernel holds on the device."""
        # `tc -j class show` of iproute2 6.1 does not print JSON.
        found = self.run(["tc", "class", "show", "dev", wishes.DEVICE], output=True)
        return sum(line.startswith("class htb ") for line in found.output.splitlines())

    def _up(self, namespace: str, device: str, address: str) -> None:
        _ip("-n", namespace, "address", "add", address, "dev", device)
        _ip("-n", namespace, "link", "set", device, "up")


class Flow:
    """Numbered UDP packets at a steady rate, and how many of them arrive."""

    def __init__(self, room: Room, address: str, packets_per_s: int) -> None:
        self._receiver = Helper(room.other, [sys.executable, str(_INSIDE), "receive", str(_PORT)])
        self._receiver.hear()
        self._sender = Helper(
            room.host, [sys.executable, str(_INSIDE), "send", address, str(_PORT), str(packets_per_s)]
        )
        self._sender.hear()

    def stop(self) -> dict[str, Any]:
        """Stop sending, wait until the wire is quiet, and count."""
        sent = self._sender.ask()
        received = self._receiver.ask()
        return {**sent, **received, "lost": sent["sent"] - received["received"]}

    def close(self) -> None:
        """End both processes."""
        self._sender.close()
        self._receiver.close()


def sweep() -> None:
    """Remove namespaces of benchmarks whose process is no more."""
    for path in _NAMESPACES.glob(f"{_PREFIX}*") if _NAMESPACES.exists() else ():
        if not Path("/proc", path.name.removeprefix(_PREFIX).split("-")[0]).exists():
            _ip("netns", "delete", path.name)


def _ip(*arguments: str) -> None:
    ran = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise BenchmarkError(f"ip {' '.join(arguments)}: {ran.stderr.strip()}")
