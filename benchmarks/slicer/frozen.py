"""Freezes a model of the zoo, or finds it frozen, in a process that may import TensorFlow for it."""

from __future__ import annotations

import json
import sys

from slicebed_agent.model.load import open_model
from slicebed_agent.model.source import ModelSource

if __name__ == "__main__":
    model = open_model(ModelSource(sys.argv[1]))
    said = {
        "path": str(model.path),
        "bytes": model.card.graph_bytes,
        "sha256": model.graph_sha256(),
        "weights": str(model.card.weights),
    }
    sys.stdout.write(json.dumps(said) + "\n")
