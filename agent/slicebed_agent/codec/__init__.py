"""How a boundary is written for a link, and read again behind it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from slicebed_agent.codec import lossless, lossy, raw
from slicebed_agent.codec.auto import Auto
from slicebed_agent.errors import AgentConfigError, PayloadError
from slicebed_agent.model import codec as tensor_proto
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import Payload
from slicebed_agent.pipeline.pieces import joined

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slicebed_agent.pipeline.contracts import Decode, Encode, Tensors


def encoder(codec: Codec, rate: Callable[[], int], note: Callable[[dict[str, object]], None]) -> Encode:
    """What writes boundaries for a link, each given with the version of the cut that its frame goes through.

    Args:
        codec: how.
        rate: what the link is known to carry, in bit/s; 0 while nobody knows. AUTO asks it.
        note: takes the line of the samples that tells what AUTO has picked, and why.

    Raises:
        AgentConfigError: there is no such codec.
    """
    if codec is Codec.AUTO:
        return Auto(rate, note)
    found = _ENCODERS.get(codec)
    if found is None:
        raise AgentConfigError(f"no codec {codec}", where="link.codec", mend=f"ask for {', '.join(Codec)}")
    return lambda arrays, _version: found(arrays)


def decode(payload: Payload) -> Tensors:
    """The arrays of a boundary, read-only; views of the payload where its codec allows.

    Raises:
        PayloadError: heads and bytes disagree, or an array would be longer than the limit; nothing was allocated then.
    """
    found = _DECODERS.get(payload.codec)
    if found is None:
        raise PayloadError(f"no codec {payload.codec}", where="decode")
    return found(payload)


def _encode_tensor_proto(arrays: Tensors) -> Payload:
    return Payload(Codec.TENSOR_PROTO, (), (memoryview(tensor_proto.encode(arrays)),))


def _decode_tensor_proto(payload: Payload) -> Tensors:
    return tensor_proto.decode(joined(payload.buffers))


_ENCODERS: Final[Mapping[Codec, Callable[[Tensors], Payload]]] = {
    Codec.TENSOR_PROTO: _encode_tensor_proto,
    Codec.RAW: raw.encode,
    Codec.LOSSLESS: lossless.encode,
    Codec.FP16: lossy.encode_fp16,
    Codec.UINT8: lossy.encode_uint8,
}
_DECODERS: Final[Mapping[Codec, Decode]] = {
    Codec.TENSOR_PROTO: _decode_tensor_proto,
    Codec.RAW: raw.decode,
    Codec.LOSSLESS: lossless.decode,
    Codec.FP16: lossy.decode,
    Codec.UINT8: lossy.decode,
}
