"""What a process holds that runs one slice of a model and nothing else."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import AgentError
from slicebed_agent.model.execute.memory import resident
from slicebed_agent.model.execute.publish import load_slice, write_slice
from slicebed_agent.model.profile.record import ProcessMemory

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import Graph

_TIMEOUT_S: Final = 600
_RUNS: Final = 3


def process_memory(
    path: Path, graph: Graph, ends: tuple[Sequence[str], Sequence[str]], *, batch: int = 1
) -> ProcessMemory:
    """Publish a slice and run it in a process of its own. Takes seconds, and the slice's size on the disk.

    Args:
        path: of the frozen model.
        graph: of the model.
        ends: names of the tensors that enter the slice, and of those that leave it.
        batch: frames at a time.

    Raises:
        AgentError: it cannot be written, or the process failed.
    """
    card = {"inputs": [{"name": name} for name in graph.inputs], "outputs": [{"name": name} for name in graph.outputs]}
    with tempfile.TemporaryDirectory(prefix="slicebed-profile-") as folder:
        write_slice(path, *ends, Path(folder) / "slice", card=card)
        command = [sys.executable, "-m", __name__, str(Path(folder) / "slice"), str(batch)]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT_S)
        except subprocess.TimeoutExpired as error:
            raise AgentError(
                f"a process with one slice ran for {_TIMEOUT_S} s", where="profile", mend="profile its memory elsewhere"
            ) from error
    if ran.returncode:
        said = ran.stderr.strip().splitlines()[-1:] or ["nothing"]
        raise AgentError(
            f"a process with one slice ended with {ran.returncode} and said {said[0]!r}",
            where="profile",
            mend="a negative number is a signal: -9 where memory ran out",
        )
    return ProcessMemory(**json.loads(ran.stdout))


def _main(folder: str, batch: str) -> None:
    manifest, part = load_slice(Path(folder), batch=int(batch))
    arrays = [boundary.blank(int(batch)) for boundary in part.feeds]
    for _ in range(_RUNS):
        part.run(arrays)
    used = resident()
    found = ProcessMemory(manifest.weights_bytes, used.bytes, used.anonymous_bytes, used.peak_bytes)
    sys.stdout.write(json.dumps(dataclasses.asdict(found)) + "\n")


if __name__ == "__main__":
    _main(*sys.argv[1:])
