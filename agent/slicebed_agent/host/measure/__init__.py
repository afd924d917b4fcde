"""What a link delivers, measured between two hosts: round trips, jitter, loss, order and TCP goodput."""

from __future__ import annotations

from slicebed_agent.host.measure.service import MeasureService

# One per process, as the channel's dispatcher registers them; the responders and sinks they open are the process's own.
HANDLERS = MeasureService().handlers()

__all__ = ["HANDLERS"]
