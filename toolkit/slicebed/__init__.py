"""Slicebed: condition hosts and links, cut a TensorFlow model across them, measure every cut."""

from slicebed_agent import __version__

__all__ = ["__version__"]
