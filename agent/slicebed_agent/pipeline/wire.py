"""Between the pipeline's own words and the messages of the wire."""

from __future__ import annotations

from typing import Final

from google.protobuf.message import DecodeError

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import At, End, Ending, TensorHead
from slicebed_agent.pipeline.parts import FrameHead, Part
from slicebed_agent.rpc.stream import INLINE_BYTES, Message
from slicebed_agent.rpc.v1 import agent_pb2, link_pb2

_END_TO_WIRE: Final = {
    End.COMPLETED: link_pb2.FRAME_END_COMPLETED,
    End.DROPPED: link_pb2.FRAME_END_DROPPED,
    End.FAILED: link_pb2.FRAME_END_FAILED,
}
_END_FROM_WIRE: Final = {value: end for end, value in _END_TO_WIRE.items()}
_CODEC_TO_WIRE: Final = {
    Codec.TENSOR_PROTO: agent_pb2.CODEC_TENSOR_PROTO,
    Codec.RAW: agent_pb2.CODEC_RAW,
    Codec.LOSSLESS: agent_pb2.CODEC_LOSSLESS,
    Codec.FP16: agent_pb2.CODEC_FP16,
    Codec.UINT8: agent_pb2.CODEC_UINT8,
}
_CODEC_FROM_WIRE: Final = {value: codec for codec, value in _CODEC_TO_WIRE.items()}


def part_to_wire(part: Part, read_bytes: int = 0) -> Message:
    """The message that carries a part: a short payload within, a long one beside it; and how much was read so far."""
    inline = part.payload.nbytes <= INLINE_BYTES
    message = link_pb2.LinkMessage(
        read_bytes=read_bytes,
        part=link_pb2.FramePart(
            frame_id=part.frame_id,
            part_index=part.part_index,
            part_count=part.part_count,
            total_bytes=part.total_bytes,
            head=None if part.head is None else _head_to_wire(part.head),
            payload=bytes(part.payload) if inline else b"",
        ),
    )
    return Message(message.SerializeToString(), None if inline else part.payload)


def _head_to_wire(head: FrameHead) -> link_pb2.FrameHead:
    return link_pb2.FrameHead(
        codec=_CODEC_TO_WIRE[head.codec],
        cut_version=head.version,
        sent_ns=head.sent_ns,
        tensors=[
            link_pb2.TensorHead(
                dtype=tensor.dtype,
                shape=tensor.shape,
                bytes=tensor.size_bytes,
                filter=tensor.filter,
                scale=tensor.scale,
                lowest=tensor.lowest,
            )
            for tensor in head.tensors
        ],
    )


def message_from_wire(message: Message) -> tuple[Part | link_pb2.ClockProbe, int]:
    """What came from the agent before, and how many bytes it had read; a part is unchecked but for its codec.

    Raises:
        PayloadError: it is no message of a link.
    """
    try:
        parsed = link_pb2.LinkMessage.FromString(message.metadata)
    except DecodeError as error:
        raise PayloadError("a message is no LinkMessage", where="link") from error
    kind = parsed.WhichOneof("content")
    if kind == "part":
        return _part(parsed.part, message.body), parsed.read_bytes
    if kind == "probe":  # a body that it may have warms up the connection, and is for nobody
        return parsed.probe, parsed.read_bytes
    raise PayloadError(f"a message with content {kind or 'that is not known'}", where="link")


def _part(part: link_pb2.FramePart, body: memoryview | None) -> Part:
    if body is not None and part.payload:
        raise PayloadError("a payload within the message and another beside it", where=f"frame {part.frame_id}")
    head = _head(part.head, f"frame {part.frame_id}") if part.HasField("head") else None
    payload = memoryview(part.payload) if body is None else body
    return Part(part.frame_id, part.part_index, part.part_count, part.total_bytes, payload, head)


def _head(head: link_pb2.FrameHead, where: str) -> FrameHead:
    codec = _CODEC_FROM_WIRE.get(head.codec)
    if codec is None:
        raise PayloadError(f"codec {head.codec} is none that travels", where=where)
    tensors = tuple(
        TensorHead(tensor.dtype, tuple(tensor.shape), tensor.bytes, tensor.filter, tensor.scale, tensor.lowest)
        for tensor in head.tensors
    )
    return FrameHead(codec, tensors, head.cut_version, head.sent_ns)


def reply_from_wire(message: Message) -> link_pb2.LinkReply:
    """What came from the next agent.

    Raises:
        PayloadError: it is no reply.
    """
    try:
        reply = link_pb2.LinkReply.FromString(message.metadata)
    except DecodeError as error:
        raise PayloadError("a message is no LinkReply", where="link") from error
    if reply.WhichOneof("content") is None or message.body is not None:
        raise PayloadError("a reply without content that is known", where="link")
    return reply


def ending_to_wire(frame_id: int, ending: Ending) -> link_pb2.FrameReport:
    """The report of a frame's end."""
    return link_pb2.FrameReport(
        frame_id=frame_id,
        end=_END_TO_WIRE[ending.end],
        host=ending.host,
        stage=str(ending.stage),
        reason=ending.reason,
        output=ending.output,
        exit=ending.exit,
    )


def ending_from_wire(report: link_pb2.FrameReport) -> Ending:
    """The ending in a report.

    Raises:
        PayloadError: the report names no end.
    """
    end = _END_FROM_WIRE.get(report.end)
    if end is None:
        raise PayloadError(f"a report of frame {report.frame_id} names no end ({report.end})", where="link")
    return Ending(end, report.host, report.stage, report.reason, report.output, report.exit)


def farewell_to_wire(ending: Ending | None, reason: str) -> link_pb2.LinkReply:
    """The last message of a stream: where it broke first, or why it is refused; empty when all is well."""
    farewell = link_pb2.Farewell(reason=reason)
    if ending is not None:
        farewell = link_pb2.Farewell(host=ending.host, stage=str(ending.stage), reason=ending.reason)
    return link_pb2.LinkReply(farewell=farewell)


def ending_of_farewell(farewell: link_pb2.Farewell, next_host: str) -> Ending:
    """What becomes of the frames on a stream that ended so."""
    reason = farewell.reason or "the agent ended the stream"
    return Ending(End.FAILED, farewell.host or next_host, farewell.stage or At.LINK, reason)
