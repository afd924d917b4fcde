"""Slicebed's side, inside the namespace: what the held channel's process does on a host, without the channel.

Lines of JSON in, lines of JSON out. ``fresh`` forgets the saved state, ``apply`` is the whole of an apply (lock, plan,
save the original state to disk, write, read back), ``part`` only plans and writes. With ``--once FILE DIRECTORY`` it
applies one wish and ends, which is what an apply costs when nothing is held.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.conditions import Conditions
from slicebed_agent.host.deadman import DeadMan
from slicebed_agent.host.network.part import Network
from slicebed_agent.host.state import State
from slicebed_agent.host.wish import parse_wish


def conditions(directory: Path) -> Conditions:
    """The host's conditions, links only, with their state in a directory of the benchmark's own."""
    return Conditions({"network": Network()}, State(directory / "saved"), DeadMan(directory / "deadman"))


def apply_part(wish: object) -> int:
    """Plan and write the links, with neither saved state nor reading back; the number of messages."""
    links = parse_wish(wish).network
    if links is None:
        raise HostError("no links in the wish", mend="ask for at least one")
    part = Network()
    plan = part.plan(links)
    part.apply(plan)
    return len(plan.steps)


def serve() -> None:
    """Answer requests until the input ends."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = 0
        here = conditions(Path(folder) / "0")
        for line in sys.stdin:
            request = json.loads(line)
            if request["do"] == "fresh":
                fresh += 1
                here = conditions(Path(folder) / str(fresh))
                answer: dict[str, Any] = {}
            else:
                answer = _timed(here, request)
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


def _timed(here: Conditions, request: dict[str, Any]) -> dict[str, Any]:
    begin = time.perf_counter()
    try:
        writes = here.apply(request["wish"]).writes if request["do"] == "apply" else apply_part(request["wish"])
    except HostError as error:
        return {"seconds": time.perf_counter() - begin, "writes": 0, "error": str(error)}
    return {"seconds": time.perf_counter() - begin, "writes": writes, "error": ""}


def once(wish_file: Path, directory: Path) -> None:
    """Apply one wish; a refusal ends with exit code 1 and one line."""
    try:
        conditions(directory).apply(json.loads(wish_file.read_text("utf-8")))
    except HostError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--once"]:
        once(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        serve()
