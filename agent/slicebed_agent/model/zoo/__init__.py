"""The zoo: the 14-layer CNN of the DNN-slicing paper and the seven models of Couper's Table 1.

What is known of them is plain data and needs no TensorFlow; `build` does.
"""

from __future__ import annotations

from slicebed_agent.model.zoo.build import build, load_weights, preset
from slicebed_agent.model.zoo.entries import DEFAULT_SEED, Entry, entry, list_models

__all__ = ["DEFAULT_SEED", "Entry", "build", "entry", "list_models", "load_weights", "preset"]
