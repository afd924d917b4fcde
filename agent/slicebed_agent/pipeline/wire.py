"""Between the pipeline's own words and the messages of the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import grpc

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.contracts import End, Ending, Stage
from slicebed_agent.pipeline.parts import Part
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable

_HOST, _STAGE, _REASON = "slicebed-host", "slicebed-stage", "slicebed-reason-bin"
_REASON_BYTES: Final = 1024  # trailers share one HTTP/2 header list, 8 kB by default

_END_TO_WIRE: Final = {
    End.COMPLETED: agent_pb2.FRAME_END_COMPLETED,
    End.DROPPED: agent_pb2.FRAME_END_DROPPED,
    End.FAILED: agent_pb2.FRAME_END_FAILED,
}
_END_FROM_WIRE: Final = {value: end for end, value in _END_TO_WIRE.items()}


def part_to_wire(run_id: str, part: Part) -> agent_pb2.FramePart:
    """The message that carries a part."""
    return agent_pb2.FramePart(
        run_id=run_id,
        frame_id=part.frame_id,
        part_index=part.part_index,
        part_count=part.part_count,
        total_bytes=part.total_bytes,
        payload=part.payload,
    )


def part_from_wire(message: agent_pb2.FramePart) -> Part:
    """The part in a message, unchecked."""
    return Part(message.frame_id, message.part_index, message.part_count, message.total_bytes, message.payload)


def ending_to_wire(run_id: str, frame_id: int, ending: Ending) -> agent_pb2.FrameReport:
    """The report of a frame's end."""
    return agent_pb2.FrameReport(
        run_id=run_id,
        frame_id=frame_id,
        end=_END_TO_WIRE[ending.end],
        host=ending.host,
        stage=str(ending.stage),
        reason=ending.reason,
        output=ending.output,
    )


def ending_from_wire(message: agent_pb2.FrameReport) -> Ending:
    """The ending in a report.

    Raises:
        PayloadError: the report names no end.
    """
    end = _END_FROM_WIRE.get(message.end)
    if end is None:
        raise PayloadError(f"a report of frame {message.frame_id} names no end ({message.end})", where="link")
    return Ending(end, message.host, message.stage, message.reason, message.output)


def trailers_of(ending: Ending) -> tuple[tuple[str, str | bytes], ...]:
    """Metadata that tells the agents before this one where a stream broke first."""
    return (
        (_HOST, ending.host),
        (_STAGE, str(ending.stage)),
        (_REASON, ending.reason.encode()[:_REASON_BYTES]),
    )


def ending_of_call(error: grpc.RpcError | None, next_host: str) -> Ending:
    """What became of the frames on a stream that ended: told by its trailers, or by how it broke."""
    if not isinstance(error, grpc.Call):
        return Ending(End.FAILED, next_host, Stage.LINK, "the agent ended the stream")
    told = _told(error.trailing_metadata() or ())
    if told.keys() >= {_HOST, _STAGE, _REASON}:
        return Ending(End.FAILED, told[_HOST], told[_STAGE], told[_REASON])
    details = " ".join((error.details() or "no details").split())
    return Ending(End.FAILED, next_host, Stage.LINK, f"the stream broke, {error.code().name}: {details}")


def _told(metadata: Iterable[tuple[str, str | bytes]]) -> dict[str, str]:
    return {key: value.decode(errors="replace") if isinstance(value, bytes) else value for key, value in metadata}
