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
        outlet = Outlet()
        if not context.add_callback(outlet.close):
            return
        threading.Thread(target=self._read, args=(request_iterator, outlet), name="parts", daemon=True).start()
        yield from outlet
        if outlet.refusal is not None:
            code, details, ending = outlet.refusal
            if ending is not None:
                context.set_trailing_metadata(wire.trailers_of(ending))
            context.abort(code, details)

    def _read(self, messages: Iterator[agent_pb2.FramePart], outlet: Outlet) -> None:
        run: Run | None = None
        trouble: str | None = None
        try:
            for message in messages:
                part = wire.part_from_wire(message)
                # Before it may become the run's stream: a stranger's garbage must not take that place.
                check(part)
                if run is None:
                    run = self._attach(message.run_id, outlet)
                if run is None or message.run_id != run.plan.run_id:
                    held = self._current_run()
                    trouble = (
                        f"run {message.run_id!r} has no place here; the current run is "
                        f"{held.plan.run_id if held else None!r}, fed by one stream from the agent before"
                    )
                    outlet.refuse(grpc.StatusCode.FAILED_PRECONDITION, trouble)
                    break
                run.receive(part)
        except PayloadError as error:
            trouble = str(error)
            outlet.refuse(grpc.StatusCode.INVALID_ARGUMENT, trouble)
        except grpc.RpcError:
            trouble = "the stream from the agent before broke"
        if trouble is not None:
            _LOG.error("data: %s", trouble)
        if run is None:
            outlet.close()
            return
        run.stream_ended(trouble)
        run.wait_idle(_DRAIN_S)
        outlet.close()

    def _attach(self, run_id: str, outlet: Outlet) -> Run | None:
        run = self._current_run()
        return run if run is not None and run.plan.run_id == run_id and run.attach(outlet) else None
