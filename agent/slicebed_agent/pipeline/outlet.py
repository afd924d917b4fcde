"""The way back: reports of frames' ends, against the direction of the frames."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import grpc

    from slicebed_agent.pipeline.contracts import Ending
    from slicebed_agent.rpc.v1 import agent_pb2


class Outlet:
    """Holds what one incoming stream has yet to send back, and how that stream is to end.

    Unbounded on purpose: it holds at most one small report per frame, and a report must never be lost.
    """

    def __init__(self) -> None:
        """Open and empty."""
        self._queue: queue.SimpleQueue[agent_pb2.FrameReport | None] = queue.SimpleQueue()
        self.refusal: tuple[grpc.StatusCode, str, Ending | None] | None = None

    def put(self, report: agent_pb2.FrameReport) -> None:
        """Send a report, unless the stream was closed before."""
        self._queue.put(report)

    def close(self) -> None:
        """End the stream after what was put so far."""
        self._queue.put(None)

    def refuse(self, code: grpc.StatusCode, details: str, ending: Ending | None = None) -> None:
        """End the stream with an error; the first reason given is the one that is told."""
        if self.refusal is None:
            self.refusal = (code, details, ending)
        self._queue.put(None)

    def __iter__(self) -> Iterator[agent_pb2.FrameReport]:
        """Reports as they come, until closed."""
        return iter(self._queue.get, None)
