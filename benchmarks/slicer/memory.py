"""What a process holds that loads one published slice and runs it: a process per slice."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, Final

from slicebed_agent.model.execute.memory import resident
from slicebed_agent.model.execute.publish import load_slice

_RUNS: Final = 10


def measure(folder: Path) -> dict[str, Any]:
    """Load a published slice, run it ten times on blank frames, and look."""
    manifest, part = load_slice(folder)
    frame = [boundary.blank(1) for boundary in part.feeds]
    for _ in range(_RUNS):
        part.run(frame)
    found = resident()
    return {
        "weights_bytes": manifest.weights_bytes,
        "resident_bytes": found.bytes,
        "own_bytes": found.anonymous_bytes,
        "peak_bytes": found.peak_bytes,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(measure(Path(sys.argv[1]))) + "\n")
