"""The Data service: frames of the current run come in, reports of their ends go back."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Final

import grpc

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline import wire
from slicebed_agent.pipeline.outlet import Outlet
from slicebed_agent.pipeline.parts import check

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slicebed_agent.pipeline.run import Run
    from slicebed_agent.rpc.v1 import agent_pb2

_LOG = logging.getLogger(__name__)
_DRAIN_S: Final = 600.0


class Data:
    """Implements `slicebed_agent.rpc.v1.Data`; a stream belongs to a run from its first message on."""

    def __init__(self, current_run: Callable[[], Run | None]) -> None:
        """Serve whichever run is current when a stream's first message comes."""
        self._current_run = current_run

    def Frames(  # noqa: N802 - the proto names it
        self, request_iterator: Iterator[agent_pb2.FramePart], context: grpc.ServicerContext
    ) -> Iterator[agent_pb2.FrameReport]:
        """Take parts and send reports, each at its own pace."""
        stream = _Stream()
        if not context.add_callback(stream.gone):
            return
        threading.Thread(target=self._read, args=(request_iterator, stream), name="parts", daemon=True).start()
        yield from stream.outlet
        if stream.outlet.refusal is not None:
            code, details, ending = stream.outlet.refusal
            if ending is not None:
                context.set_trailing_metadata(wire.trailers_of(ending))
            context.abort(code, details)

    def _read(self, messages: Iterator[agent_pb2.FramePart], stream: _Stream) -> None:
        trouble: str | None = None
        try:
            for message in messages:
                part = wire.part_from_wire(message)
                # Before it may become the run's stream: a stranger's garbage must not take that place.
                check(part)
                if stream.run is None:
                    stream.run = self._attach(message.run_id, stream.outlet)
                if stream.run is None or message.run_id != stream.run.plan.run_id:
                    trouble = self._misplaced(message.run_id)
                    stream.outlet.refuse(grpc.StatusCode.FAILED_PRECONDITION, trouble)
                    break
                stream.run.receive(part)
        except PayloadError as error:
            trouble = str(error)
            stream.outlet.refuse(grpc.StatusCode.INVALID_ARGUMENT, trouble)
        except grpc.RpcError:
            trouble = "the stream from the agent before broke"
        if stream.run is not None:
            if trouble is not None and not stream.run.over:
                _LOG.error("run %s: %s", stream.run.plan.run_id, trouble)
            stream.run.stream_ended(trouble)
            stream.run.wait_idle(_DRAIN_S)
        elif trouble is not None:
            _LOG.error("stream refused: %s", trouble)
        stream.outlet.close()

    def _attach(self, run_id: str, outlet: Outlet) -> Run | None:
        run = self._current_run()
        return run if run is not None and run.plan.run_id == run_id and run.attach(outlet) else None

    def _misplaced(self, run_id: str) -> str:
        run = self._current_run()
        held = "there is none" if run is None else f"the current one is {run.plan.run_id!r}"
        return f"run {run_id!r} takes no stream here: {held}, and a run is fed by the agent before it alone"


class _Stream:
    """An incoming stream: the way back, and the run it feeds once its first message came."""

    def __init__(self) -> None:
        self.outlet = Outlet()
        self.run: Run | None = None

    def gone(self) -> None:
        """The call is over, whoever ended it."""
        self.outlet.close()
        if self.run is not None:
            self.run.abandon()
