"""Slicebed's model half against its bars: cuts, equality, change of cut, chains of slices, memory."""
