"""The tables and figures of both papers from this testbed, beside the published ones, with a verdict per statement."""
