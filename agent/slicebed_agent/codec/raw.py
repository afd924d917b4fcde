"""The arrays' own bytes: nothing is copied, on neither side."""

from __future__ import annotations

from slicebed_agent.codec.arrays import Announced, announced, check, flat
from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import Payload, Tensor, TensorHead, Tensors


def encode(arrays: Tensors) -> Payload:
    """Views of the arrays.

    Raises:
        PayloadError: of a dtype that is not sent, or longer than the limit.
    """
    check(arrays)
    parts = [encode_array(array) for array in arrays]
    return Payload(Codec.RAW, tuple(head for head, _ in parts), tuple(data for _, data in parts))


def encode_array(array: Tensor) -> tuple[TensorHead, memoryview]:
    """One array's head and a view of its bytes."""
    data = flat(array)
    return TensorHead(array.dtype.name, array.shape, data.nbytes), data.data


def decode(payload: Payload) -> Tensors:
    """Read-only views of the payload.

    Raises:
        PayloadError: heads and bytes disagree.
    """
    return tuple(decode_array(tensor) for tensor in announced(payload))


def decode_array(tensor: Announced) -> Tensor:
    """One array, a read-only view of its bytes.

    Raises:
        PayloadError: they are not as many as shape and dtype say.
    """
    if tensor.data.nbytes != tensor.nbytes:
        head = tensor.head
        raise PayloadError(
            f"{head.dtype} {head.shape} takes {tensor.nbytes} bytes, {tensor.data.nbytes} came", where="decode"
        )
    return tensor.array(tensor.data)
