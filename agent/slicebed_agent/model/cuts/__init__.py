"""Where a model may be cut, by which algorithm, and how a chosen cut is found again by name."""
