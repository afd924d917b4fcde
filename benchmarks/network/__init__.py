"""Slicebed's way of shaping a host beside EnosLib's, tcconfig's and tc's own, in one run: ``make bench-network``."""
