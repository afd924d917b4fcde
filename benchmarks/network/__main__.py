"""``make bench-network``: everything in one run, a table on the terminal, raw figures in a file when asked."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.network import lab_sweep, measure, report, truth, wishes
from benchmarks.network.room import BenchmarkError, Room
from benchmarks.network.tables import paragraph
from benchmarks.network.venvs import install
from benchmarks.network.ways import Batch, EnosLib, Slicebed, SlicebedOnce, TcConfig
from benchmarks.shared.terminal import exit_code, note, say

if TYPE_CHECKING:
    from benchmarks.network.measure import Flowed, Timed
    from benchmarks.network.venvs import Venv
    from benchmarks.network.ways import Way

_TOOLS = ("tc", "ip", "nsenter", "ping")
_DELAY_MS = 10
_FLOW_PEERS = 3
_TRUTH_DELAY_MS = 21


@dataclass(frozen=True)
class Size:
    """How much of everything; a whole run takes about five minutes.

    Attributes:
        counts: destinations and rounds of the runs from nothing: a large table without tcconfig, then tables with it.
        flow_rounds: rounds of the runs under load.
        acts: acts of each way in one such round.
        slow_acts: the same for tcconfig, which takes a second per rule.
    """

    large: tuple[tuple[int, int], ...] = ((1000, 5), (5000, 5))
    small: tuple[tuple[int, int], ...] = ((10, 3), (30, 2))
    enoslib_up_to: int = 1000
    flow_rounds: int = 4
    acts: int = 10
    slow_acts: int = 1


_QUICK = Size(large=((100, 3),), small=((2, 2),), flow_rounds=3, acts=3)


class Bench:
    """One run."""

    def __init__(self, room: Room, folder: Path, venvs: dict[str, Venv], size: Size) -> None:
        self._room, self._size = room, size
        self._stage = measure.Stage(room, note)
        self.netem = truth.kernel_has_netem(room)
        self._delay_ms = _DELAY_MS if self.netem else 0
        self._slicebed = Slicebed(room)
        self._part = Slicebed(room, whole=False)
        self._once = SlicebedOnce(room, folder)
        self._added, self._in_place = Batch(room, folder, in_place=False), Batch(room, folder, in_place=True)
        self._quick_ways: tuple[Way, ...] = (self._slicebed, self._in_place, self._added)
        self.large = size.large[0][0]
        self._enoslib = EnosLib(room, venvs["enoslib"])
        self.tcconfig = TcConfig(room, venvs["tcconfig"], folder)
        self._folder, self._venvs = folder, venvs

    def from_nothing(self) -> dict[int, dict[str, Timed]]:
        """Times by number of destinations."""
        found = {}
        for count, rounds in self._size.large:
            ways: list[Way] = [self._slicebed, self._part, self._once, self._added]
            if count <= self._size.enoslib_up_to:
                ways.append(self._enoslib)
            found[count] = self._nothing(ways, count, rounds)
        for count, rounds in self._size.small:
            found[count] = self._nothing([self._slicebed, self._added, self._enoslib, self.tcconfig], count, rounds)
        return found

    def flows(self, *, changing: bool) -> dict[str, Flowed]:
        """What a flow meets while each way re-applies or changes a small testbed."""
        acts: dict[Way, int] = dict.fromkeys((*self._quick_ways, self._enoslib), self._size.acts)
        acts[self.tcconfig] = self._size.slow_acts
        return self._acting(acts, _FLOW_PEERS, changing=changing)

    def large_flows(self) -> dict[str, Flowed]:
        """What a flow meets while the ways that are quick enough re-apply the first of the large tables."""
        return self._acting(dict.fromkeys(self._quick_ways, self._size.slow_acts), self.large, changing=False)

    def quiet(self) -> tuple[Flowed, Flowed]:
        """What the flow loses by itself, on a bare device and on a shaped one."""
        note("the generator alone")
        asked = wishes.peers(_FLOW_PEERS, self._delay_ms)
        rounds = self._size.flow_rounds
        return self._stage.quiet(None, asked, rounds), self._stage.quiet(self._added, asked, rounds)

    def truth(self) -> tuple[float, list[truth.Answer]]:
        """The round trip of the bare device, and what each way says of a delay."""
        note("asking every way for a delay")
        self._room.bare()
        base_ms = truth.round_trip_ms(self._room, wishes.peers(1, 0)[0].address)
        with_lsmod = TcConfig(self._room, self._venvs["tcconfig"], self._folder, with_lsmod=True)
        with_lsmod.name += " with lsmod"
        ways: list[Way] = [self._slicebed, self._added, self._enoslib, self.tcconfig, with_lsmod]
        return base_ms, truth.answers(self._room, ways, wishes.peers(_FLOW_PEERS, _TRUTH_DELAY_MS))

    def _acting(self, acts: dict[Way, int], count: int, *, changing: bool) -> dict[str, Flowed]:
        return self._stage.acting(acts, wishes.peers(count, self._delay_ms), self._size.flow_rounds, changing=changing)

    def _nothing(self, ways: list[Way], count: int, rounds: int) -> dict[str, Timed]:
        return self._stage.from_nothing(ways, wishes.peers(count, self._delay_ms), rounds)


def run(size: Size, out: Path | None) -> None:
    """Install, measure, print, remove."""
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="slicebed-bench-") as name:
        note("installing EnosLib and tcconfig into throwaway environments")
        venvs = install(("enoslib", "tcconfig"), Path(name))
        with Room() as room:
            bench = Bench(room, Path(name), venvs, size)
            machine = _machine(venvs, netem=bench.netem)
            say("\n".join(f"{key:12}{value}" for key, value in machine.items()))
            say(paragraph(report.INCLUDED))
            raw = report.plain(machine=machine, **_from_nothing(bench, size), **_under_load(bench), **_truth(bench))
    note("changing conditions over held channels in the lab")
    say("Conditions changed over held channels, three lab hosts", heading=True)
    say(paragraph(lab_sweep.sweep()))
    say(f"{time.monotonic() - begin:.0f} s in all; load average now {os.getloadavg()[0]:.1f}")
    if out is not None:
        out.write_text(json.dumps(raw, indent=1) + "\n", "utf-8")


def _from_nothing(bench: Bench, size: Size) -> dict[str, Any]:
    nothing = bench.from_nothing()
    for count, found in nothing.items():
        runs = len(found[Slicebed.name].seconds)
        say(f"From nothing to {count:,} destinations on one interface ({runs} runs of each)", heading=True)
        say(report.nothing_table(found, count, Slicebed.name))
    slowest = max(count for count, _ in size.small)
    say(report.slow_line(nothing[slowest][bench.tcconfig.name], slowest, bench.large))
    return {"from_nothing": nothing}


def _under_load(bench: Bench) -> dict[str, Any]:
    bare, shaped = bench.quiet()
    say(f"{measure.PACKETS_PER_S:,} packets/s of UDP through the shaped interface", heading=True)
    say(report.quiet_line(bare, shaped, measure.PACKETS_PER_S))
    again = {_FLOW_PEERS: bench.flows(changing=False), bench.large: bench.large_flows()}
    for count, met in again.items():
        say(f"{count:,} destinations asked again, unchanged, under that flow", heading=True)
        say(report.flow_table(met))
    changed = bench.flows(changing=True)
    what = "delay" if bench.netem else "rate"
    say(f"The {what} of the flow's own link changed to and fro under that flow", heading=True)
    say(report.flow_table(changed))
    say(paragraph(_FLOW_NOTE))
    return {"quiet": {"bare": bare, "shaped": shaped}, "again": again, "changed": changed}


def _truth(bench: Bench) -> dict[str, Any]:
    base_ms, answers = bench.truth()
    say(f"Asked for a delay of {_TRUTH_DELAY_MS} ms (ping without it: {base_ms:.2f} ms)", heading=True)
    say(report.truth_table(answers))
    return {"base_rtt_ms": base_ms, "truth": answers}


_FLOW_NOTE = """
Each took: median. Own count: messages that Slicebed says it wrote. Announced: qdiscs, classes and filters that the
kernel announced as changed, per act, counted by a listener on RTNLGRP_TC in the same namespace; what the kernel
refuses is not announced, and not all of what goes with a deleted root. Lost per act: median over the rounds and its
95 % interval. On the PATH of tcconfig there is tc and ip but no lsmod, except in the last row of the next table.
"""


def _machine(venvs: dict[str, Venv], *, netem: bool) -> dict[str, str]:
    cpu = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    tc = subprocess.run(["tc", "-V"], capture_output=True, text=True, check=True).stdout.strip()
    conditions = "HTB rates and netem delays" if netem else "HTB rates only: this kernel has no netem (found by trial)"
    return {
        "machine": f"{os.cpu_count()} x {cpu}; load average at the start {os.getloadavg()[0]:.1f}",
        "kernel": f"{platform.system()} {platform.release()}",
        "conditions": conditions,
        "tools": f"{tc}; EnosLib {venvs['enoslib'].release}; tcconfig {venvs['tcconfig'].release}; "
        f"Python {platform.python_version()}",
        "order": "every way once a round, shuffled; x: as long as Slicebed, median of rounds; 95 % bootstrap",
    }


def main(arguments: list[str] | None = None) -> int:
    """Run the benchmark; the exit code."""
    parser = argparse.ArgumentParser(prog="make bench-network", description=__doc__)
    parser.add_argument("--out", type=Path, metavar="FILE", help="write every raw figure to FILE as JSON")
    parser.add_argument("--quick", action="store_true", help="small counts and few rounds: shows that it works")
    options = parser.parse_args(arguments)
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        sys.stderr.write(f"needs root and {', '.join(missing or _TOOLS)}: it makes network namespaces of its own\n")
        return 2
    size = _QUICK if options.quick else Size()
    stopped = "stopped; its namespaces and environments are removed"
    return exit_code("bench-network", lambda: run(size, options.out), (BenchmarkError,), stopped=stopped)


if __name__ == "__main__":
    sys.exit(main())
