"""Slicebed: condition hosts and links, cut a TensorFlow model across them, measure every cut."""

__version__ = "0.1.0"
