"""What Keras itself says of the frame that every candidate is run on, written to a file."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from benchmarks.slicer.candidates.keras_models import KerasModels
from benchmarks.slicer.candidates.plan import Plan

from slicebed_agent.model.execute.check import seeded_frame

if __name__ == "__main__":
    plan = Plan.from_json(Path(sys.argv[1]).read_text("utf-8"))
    arrays = KerasModels(plan).answer([seeded_frame(each, plan.seed, 1) for each in plan.entrances()])
    np.savez(sys.argv[2], *arrays)
    sys.stdout.write(json.dumps({"outputs": len(arrays)}) + "\n")
