"""The ways compared, each asked for the same thing: conditions towards many destinations on one interface."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from benchmarks.network.room import ROOT, BenchmarkError, Ran
from benchmarks.network.wishes import DEVICE, Peer

if TYPE_CHECKING:
    from pathlib import Path

    from benchmarks.network.room import Room
    from benchmarks.network.venvs import Venv

Asked = tuple[Peer, ...]
_FILTERS_PER_TABLE = 0x7FF


@dataclass(frozen=True)
class Done:
    """What one act of a way took and said.

    Attributes:
        seconds: time inside the host.
        codes: exit codes, in the order of the commands; for Slicebed 0 or the error's exit code.
        said: its last line of error; empty when it reported none.
        writes: the way's own account of what it wrote; None when it keeps none.
    """

    seconds: float
    codes: tuple[int, ...]
    said: str = ""
    writes: int | None = None

    @classmethod
    def of(cls, ran: Ran) -> Done:
        """From commands that were run."""
        return cls(ran.seconds, ran.codes, ran.last_error)


class Way(Protocol):
    """One way of shaping a host."""

    name: str

    def fresh(self) -> None:
        """Forget what was done before; the device is bare."""

    def apply(self, asked: Asked) -> Done:
        """From nothing."""

    def again(self, asked: Asked) -> Done:
        """The same once more."""

    def change(self, before: Asked, after: Asked) -> Done:
        """Only the first destination's condition differs."""


class Slicebed:
    """Slicebed's host part in a process that is already there, as over the held channel."""

    name = "Slicebed"

    def __init__(self, room: Room, *, whole: bool = True) -> None:
        self._act = "apply" if whole else "part"
        if not whole:
            self.name = "Slicebed, plan + write"
        self._worker = room.helper(sys.executable, "-m", "benchmarks.network.slicebed_worker")

    def fresh(self) -> None:
        """Forget the saved state."""
        self._worker.ask({"do": "fresh"})

    def apply(self, asked: Asked) -> Done:
        """Ask the process."""
        answer = self._worker.ask({"do": self._act, "wish": wish(asked)})
        return Done(answer["seconds"], (5 if answer["error"] else 0,), answer["error"], answer["writes"])

    again = apply

    def change(self, before: Asked, after: Asked) -> Done:
        """Ask for the new state; the part finds the difference."""
        del before
        return self.apply(after)


class SlicebedOnce:
    """Slicebed's host part as one command: Python and pyroute2 start each time."""

    name = "Slicebed, started each time"

    def __init__(self, room: Room, folder: Path) -> None:
        self._room, self._folder, self._state = room, folder, 0

    def fresh(self) -> None:
        """Forget the saved state."""
        self._state += 1

    def apply(self, asked: Asked) -> Done:
        """Run the command."""
        file = self._folder / "wish.json"
        file.write_text(json.dumps(wish(asked)), "utf-8")
        state = self._folder / f"state-{self._state}"
        argv = [sys.executable, "-m", "benchmarks.network.slicebed_worker", "--once", str(file), str(state)]
        return Done.of(self._room.run(argv))

    again = apply

    def change(self, before: Asked, after: Asked) -> Done:
        """Run the command with the new state."""
        del before
        return self.apply(after)


class Batch:
    """``tc -batch`` with a file written by hand: the least the classic way can cost."""

    def __init__(self, room: Room, folder: Path, *, in_place: bool) -> None:
        self._room, self._file, self._in_place = room, folder / f"batch-{in_place:d}", in_place
        self.name = "tc -batch by hand, in place" if in_place else "tc -batch, delete and add"

    def fresh(self) -> None:
        """Nothing is kept."""

    def apply(self, asked: Asked) -> Done:
        """Add everything."""
        return self._batch(_batch_lines(asked, "add"))

    def again(self, asked: Asked) -> Done:
        """Replace what is below the root, or delete the root and add everything."""
        if self._in_place:
            return self._batch(_batch_lines(asked, "replace")[1:])
        return self._batch([f"qdisc delete dev {DEVICE} root", *_batch_lines(asked, "add")])

    def change(self, before: Asked, after: Asked) -> Done:
        """Change the one class or leaf, or do everything again."""
        if not self._in_place:
            return self.again(after)
        lines = _batch_lines(after[:1], "change")
        return self._batch([lines[2] if before[0].delay_ms != after[0].delay_ms else lines[1]])

    def _batch(self, lines: list[str]) -> Done:
        self._file.write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return Done.of(self._room.run(["tc", "-batch", str(self._file)]))


class EnosLib:
    """EnosLib's NetemHTB: its own commands, in the shell lines that Ansible's raw module would run on the host."""

    def __init__(self, room: Room, venv: Venv) -> None:
        self._room, self._venv = room, venv
        self._built: dict[Asked, list[list[str]]] = {}
        self.name = f"EnosLib {venv.release}"

    def fresh(self) -> None:
        """Nothing is kept on the host."""

    def apply(self, asked: Asked) -> Done:
        """Run the chain; building it in EnosLib's Python is not part of the time."""
        if asked not in self._built:
            self._built[asked] = [["/bin/sh", "-c", line] for line in self._build(asked)]
        return Done.of(self._room.run(*self._built[asked]))

    again = apply

    def change(self, before: Asked, after: Asked) -> Done:
        """Deploy again: EnosLib has no other way to change a constraint."""
        del before
        return self.apply(after)

    def _build(self, asked: Asked) -> list[str]:
        constraints = [
            {
                "device": DEVICE,
                "target": peer.address,
                "delay": f"{peer.delay_ms}ms",
                "rate": f"{peer.rate_mbit_per_s}mbit",
            }
            for peer in asked
        ]
        built = subprocess.run(
            [self._venv.bin / "python", "-P", ROOT / "benchmarks/network/enoslib_commands.py"],
            input=json.dumps(constraints),
            capture_output=True,
            text=True,
            check=False,
        )
        if built.returncode:
            raise BenchmarkError(f"EnosLib's commands could not be built: {built.stderr.strip().splitlines()[-1]}")
        lines: list[str] = json.loads(built.stdout)
        return lines


class TcConfig:
    """tcconfig's tcset: the whole table from a file, one link by ``--change``."""

    def __init__(self, room: Room, venv: Venv, folder: Path, *, with_lsmod: bool = False) -> None:
        self._room, self._file = room, folder / "tcconfig.json"
        self.name = f"tcconfig {venv.release}"
        tools = folder / "tools"
        tools.mkdir(exist_ok=True)
        for tool in ("tc", "ip"):
            if not (tools / tool).exists():
                (tools / tool).symlink_to(_found(tool))
        # tcset runs lsmod when there is one, and dies of it where the kernel has no /proc/modules.
        others = os.environ["PATH"] if with_lsmod else str(tools)
        # It keeps a history of its commands in the home directory.
        self._environment = {**os.environ, "PATH": f"{venv.bin}:{others}", "HOME": str(folder)}

    def fresh(self) -> None:
        """Nothing is kept."""

    def apply(self, asked: Asked) -> Done:
        """Import the table."""
        return self._import(asked)

    def again(self, asked: Asked) -> Done:
        """Import it again; without ``--overwrite`` tcset refuses to touch what is there."""
        return self._import(asked, "--overwrite")

    def change(self, before: Asked, after: Asked) -> Done:
        """Change the one rule."""
        del before
        first = after[0]
        options = [f"--{name}={value}" for name, value in _tcconfig_rule(first).items()]
        return self._tcset(DEVICE, "--network", first.address, *options, "--change")

    def _import(self, asked: Asked, *options: str) -> Done:
        rules = {f"dst_network={peer.address}/32, protocol=ip": _tcconfig_rule(peer) for peer in asked}
        self._file.write_text(json.dumps({DEVICE: {"outgoing": rules}}), "utf-8")
        return self._tcset(str(self._file), "--import-setting", *options)

    def _tcset(self, *arguments: str) -> Done:
        return Done.of(self._room.run(["tcset", *arguments], env=self._environment))


def wish(asked: Asked) -> dict[str, Any]:
    """As Slicebed's host part is asked."""
    links = [
        {
            "peer": f"peer-{number}",
            "peer_address": peer.address,
            "interface": DEVICE,
            "condition": {"rate_bit_per_s": peer.rate_bit_per_s, "delay_us": peer.delay_ms * 1000},
        }
        for number, peer in enumerate(asked)
    ]
    return {"host": "bench", "network": {"links": links}}


def _tcconfig_rule(peer: Peer) -> dict[str, str]:
    rule = {"rate": f"{peer.rate_mbit_per_s}Mbps"}
    if peer.delay_ms:
        rule["delay"] = f"{peer.delay_ms}ms"
    return rule


def _batch_lines(asked: Asked, verb: str) -> list[str]:
    lines = [f"qdisc add dev {DEVICE} root handle 1: htb"]
    for number, peer in enumerate(asked):
        minor = f"{0x10 + number:x}"
        lines.append(f"class {verb} dev {DEVICE} parent 1: classid 1:{minor} htb rate {peer.rate_mbit_per_s}mbit")
        if peer.delay_ms:
            leaf = f"dev {DEVICE} parent 1:{minor} handle {0x100 + number:x}: netem delay {peer.delay_ms}ms"
            lines.append(f"qdisc {verb} {leaf}")
        # A u32 table holds 4,095 filters, so that more need another preference. Only a filter with a handle of its own
        # can be replaced instead of added once more.
        handle = f"handle 800::{0x800 + number:x} " if number < _FILTERS_PER_TABLE else ""
        preference = 1 + number // _FILTERS_PER_TABLE
        match = f"prio {preference} {handle}protocol ip u32 match ip dst {peer.address} flowid 1:{minor}"
        lines.append(f"filter {verb} dev {DEVICE} parent 1: {match}")
    return lines


def _found(tool: str) -> str:
    path = shutil.which(tool)
    if path is None:
        raise BenchmarkError(f"{tool} is not on the PATH: install iproute2")
    return os.path.realpath(path)
