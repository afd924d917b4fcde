"""Lossless codecs of activations: a bit map of the values that are not zero, shuffled bytes, Zstandard.

What there is to gain lies in three places. ReLU leaves zeros: each costs a bit of a map instead of a word. Of the
other values' bytes only the exponents are predictable: a float is turned left by one bit, so that its exponent fills a
byte, and all first bytes, then all second ones and so on are compressed apart (those that do not compress travel as
they are). And neighbours in the picture are alike, channels are not: values are put in order channel by channel first.

Measured on EfficientNet-Lite0 and cnn14 (trained weights; `benchmarks/pipeline/codecs.py`) this beats Zstandard alone
and all of blosc2, whose package would bring an HTTP client into the agent's image; the compressor is pyarrow's.

An encoded tensor is a table of uint64 (how many values are not zero, then the length of each section that follows),
and its sections: the map, and one for each byte of a word, the lowest first. A section as long as what it encodes is
that itself. Where the filter is empty there is no table: the bytes are the array's own.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from slicebed_agent.codec import raw
from slicebed_agent.codec.arrays import Announced, Flat, announced, check, flat
from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import Payload, Tensor, TensorHead, Tensors

if TYPE_CHECKING:
    from collections.abc import Sequence

Words = npt.NDArray[np.unsignedinteger[Any]]

_LEVEL: Final = 1
# Of fewer zeros than this share, the map costs more than it saves.
_WORTH_A_MAP: Final = 0.04
# A section that does not shrink at all in a piece of this length is not compressed: mantissas are noise.
_PROBE_BYTES: Final = 32768
_NOISE: Final = 0.99
_TABLE: Final = np.dtype("<u8")


@dataclasses.dataclass(frozen=True, slots=True)
class Filter:
    """What is done to a tensor; its name is what a head carries.

    Attributes:
        channels: ordered channel by channel.
        bitmap: zeros are bits of a map.
        compressed: bytes of words apart, each compressed.
    """

    channels: bool = False
    bitmap: bool = False
    compressed: bool = False

    @property
    def name(self) -> str:
        """Such as "channels+bitmap+shuffle+zstd"."""
        used = (("channels", self.channels), ("bitmap", self.bitmap), ("shuffle+zstd", self.compressed))
        return "+".join(name for name, is_used in used if is_used)


BITMAP: Final = Filter(bitmap=True)
"""The fastest: for links that carry hundreds of Mbit/s."""
FULL: Final = Filter(channels=True, bitmap=True, compressed=True)
"""The shortest."""
_BY_NAME: Final = {
    each.name: each
    for each in (Filter(one, two, three) for one in (False, True) for two in (False, True) for three in (False, True))
}


def encode(arrays: Tensors, wanted: Filter = FULL) -> Payload:
    """Encode a boundary; a tensor that would not get shorter is sent as it is.

    Raises:
        PayloadError: of a dtype that is not sent, or longer than the limit.
    """
    check(arrays)
    heads: list[TensorHead] = []
    pieces: list[memoryview] = []
    for array in arrays:
        head, parts = _encode(array, wanted)
        heads.append(head)
        pieces.extend(parts)
    return Payload(Codec.LOSSLESS, tuple(heads), tuple(pieces))


def decode(payload: Payload) -> Tensors:
    """The arrays, read-only.

    Raises:
        PayloadError: heads and bytes disagree; nothing longer than the heads announce was allocated.
    """
    return tuple(_decode(tensor) for tensor in announced(payload))


def _encode(array: Tensor, wanted: Filter) -> tuple[TensorHead, Sequence[memoryview]]:
    head, plain = raw.encode_array(array)
    words = flat(array).view(_word(array.dtype))
    present = words != 0
    count = int(np.count_nonzero(present))
    bitmap = wanted.bitmap and len(words) - count > len(words) * _WORTH_A_MAP
    if not words.size or not (bitmap or wanted.compressed):
        return head, (plain,)
    channels = wanted.channels and _has_channels(array.shape)
    if channels:
        words = _by_channel(words, _lanes(array.dtype, array.shape))
        present = words != 0 if bitmap else present
    sections: list[Flat] = [np.packbits(present)] if bitmap else []
    kept = np.compress(present, words) if bitmap else words
    if wanted.compressed:
        turned = _turned(kept, array.dtype)
        sections += [np.ascontiguousarray(plane) for plane in turned.view(np.uint8).reshape(len(kept), kept.itemsize).T]
    else:
        sections.append(kept.view(np.uint8))
    packed = [_shrunk(section) if wanted.compressed else section.data for section in sections]
    table = np.array([len(kept), *(piece.nbytes for piece in packed)], _TABLE)
    pieces = (table.view(np.uint8).data, *packed)
    size = sum(piece.nbytes for piece in pieces)
    if size >= plain.nbytes:
        return head, (plain,)
    used = Filter(channels, bitmap, wanted.compressed)
    return dataclasses.replace(head, size_bytes=size, filter=used.name), pieces


def _decode(tensor: Announced) -> Tensor:
    if not tensor.head.filter:
        return raw.decode_array(tensor)
    used = _BY_NAME.get(tensor.head.filter)
    if used is None or not tensor.count or (used.channels and not _has_channels(tensor.head.shape)):
        raise _wrong(f"no filter {tensor.head.filter[:60]!r} of {tensor.head.shape[:8]}")
    word = _word(tensor.dtype)
    length = tensor.nbytes // word.itemsize
    planes = word.itemsize if used.compressed else 1
    kept, sections = _sections(tensor.data, used.bitmap + planes)
    if kept > length or (not used.bitmap and kept != length):
        raise _wrong(f"{kept} values for an array of {length}")
    present: npt.NDArray[np.bool_] | None = None
    if used.bitmap:
        present = np.unpackbits(_whole(sections.pop(0), math.ceil(length / 8)), count=length).view(np.bool_)
        if np.count_nonzero(present) != kept:
            raise _wrong(f"the bit map holds {np.count_nonzero(present)} values, {kept} are announced")
    words = (
        _values(sections, kept, tensor.dtype, word) if used.compressed else _whole(sections[0], kept * word.itemsize)
    )
    words = words.view(word)
    if present is not None:
        spread = np.zeros(length, word)
        spread[present] = words
        words = spread
    if used.channels:
        words = _by_channel(words, length // _lanes(tensor.dtype, tensor.head.shape))
    return tensor.array(words.view(np.uint8))


def _sections(data: memoryview, count: int) -> tuple[int, list[memoryview]]:
    """How many values there are, and the sections behind the table."""
    behind = (count + 1) * _TABLE.itemsize
    if data.nbytes < behind:
        raise _wrong(f"{data.nbytes} bytes hold no table of {count} sections")
    kept, *sizes = np.frombuffer(data, _TABLE, count + 1).tolist()
    if behind + sum(sizes) != data.nbytes:
        raise _wrong(f"sections of {sum(sizes)} bytes in {data.nbytes - behind}")
    found = []
    for size in sizes:
        found.append(data[behind : behind + size])
        behind += size
    return kept, found


def _values(sections: Sequence[memoryview], kept: int, dtype: np.dtype[Any], word: np.dtype[Any]) -> Words:
    made = np.empty((kept, word.itemsize), np.uint8)
    for place, section in enumerate(sections):
        made[:, place] = _whole(section, kept)
    return _turned(made.reshape(-1).view(word), dtype, back=True)


def _shrunk(section: Flat) -> memoryview:
    """Compressed, or as it is."""
    codec = _zstd()
    if section.nbytes > 2 * _PROBE_BYTES:
        middle = section.nbytes // 2
        if codec.compress(section[middle : middle + _PROBE_BYTES]).size > _PROBE_BYTES * _NOISE:
            return section.data
    made = memoryview(codec.compress(section)) if section.nbytes else section.data
    return made.cast("B") if made.nbytes < section.nbytes else section.data


def _whole(section: memoryview, length: int) -> Flat:
    """What `_shrunk` was given, which was so long."""
    if section.nbytes == length:
        return np.frombuffer(section, np.uint8)
    if section.nbytes > length:
        raise _wrong(f"a section of {section.nbytes} bytes for {length}")
    try:
        return np.frombuffer(_zstd().decompress(pa.py_buffer(section), length), np.uint8, length)
    except (OSError, ValueError) as error:
        raise _wrong(f"a section does not become {length} bytes: {error}") from error


def _turned(words: Words, dtype: np.dtype[Any], *, back: bool = False) -> Words:
    """Floats by one bit to the left, so that the sign is last, or back."""
    if dtype.kind not in "fc" and dtype.name != "bfloat16":
        return words
    one, rest = words.dtype.type(1), words.dtype.type(words.dtype.itemsize * 8 - 1)
    left, right = (rest, one) if back else (one, rest)
    turned: Words = words << left
    turned |= words >> right
    return turned


def _word(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """What holds a value, or half a complex one."""
    return np.dtype(f"<u{dtype.itemsize // 2 if dtype.kind == 'c' else dtype.itemsize}")


def _lanes(dtype: np.dtype[Any], shape: tuple[int, ...]) -> int:
    """Words that lie between a value and its neighbour in the picture."""
    return shape[-1] * (2 if dtype.kind == "c" else 1)


def _has_channels(shape: tuple[int, ...]) -> bool:
    return len(shape) > 2 and shape[-1] > 1  # a batch of rows has no neighbours


def _by_channel(words: Words, lanes: int) -> Words:
    """The last axis, of so many words, becomes the first; with as many as it had then, back again."""
    return np.ascontiguousarray(words.reshape(-1, lanes).T).reshape(-1)


@functools.cache
def _zstd() -> Any:
    return pa.Codec("zstd", compression_level=_LEVEL)


def _wrong(what: str) -> PayloadError:
    return PayloadError(what, where="decode")
