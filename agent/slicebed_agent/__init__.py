"""The part of Slicebed that runs on a testbed host: agent, slices, and the host's own conditions."""

__version__ = "0.1.0"
