"""Boundaries survive every lossless codec to the last bit, the lossy ones within their step, and lies are refused."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slicebed_agent import codec
from slicebed_agent.codec import lossless
from slicebed_agent.codec.arrays import MAX_BYTES
from slicebed_agent.errors import PayloadError
from slicebed_agent.model.execute.tensors import CODES, dtype_of
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import Payload, TensorHead

LOSSLESS = (Codec.TENSOR_PROTO, Codec.RAW, Codec.LOSSLESS, Codec.AUTO)
FLOATS = ("float16", "bfloat16", "float32", "float64")


def _encoder(name, rate=0):
    encode = codec.encoder(name, lambda: rate, lambda _: None)
    return lambda arrays: encode(arrays, 0)


def _sent(payload, *lengths):
    """As it arrives: in one piece, or in several that know nothing of the tensors."""
    whole = b"".join(payload.buffers)
    pieces, begin = [], 0
    for length in (*lengths, len(whole)):
        pieces.append(memoryview(whole)[begin : begin + length])
        begin += length
    return dataclasses.replace(payload, buffers=tuple(pieces))


def _same(found, expected):
    return (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


@st.composite
def _arrays(draw):
    """Any bits at all, with as many zeros as an activation has, of any shape."""
    dtype = dtype_of(CODES[draw(st.sampled_from(sorted(CODES)))])
    shape = tuple(draw(st.lists(st.integers(0, 7), max_size=4)))
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    zeros = draw(st.sampled_from([0.0, 0.1, 0.7, 1.0]))
    count = int(np.prod(shape))
    if dtype.kind == "b":
        return (random.random(shape) >= zeros).astype(dtype)
    values = random.integers(0, 256, (count, dtype.itemsize), np.uint8)
    values[random.random(count) < zeros] = 0
    return values.reshape(-1).view(dtype).reshape(shape)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(LOSSLESS), st.lists(_arrays(), min_size=1, max_size=3), st.lists(st.integers(0, 40), max_size=3))
def test_lossless_codecs_change_no_bit(name, arrays, lengths):
    payload = _encoder(name, rate=1_000_000)(tuple(arrays))
    for arrived in (payload, _sent(payload), _sent(payload, *lengths)):
        found = codec.decode(arrived)
        assert len(found) == len(arrays)
        assert all(_same(one, two) for one, two in zip(found, arrays, strict=True))
    assert payload.codec is not Codec.AUTO


@settings(deadline=None, max_examples=100)
@given(_arrays(), st.booleans(), st.booleans(), st.booleans())
def test_every_filter_can_be_undone(array, channels, bitmap, compressed):
    payload = lossless.encode((array,), lossless.Filter(channels, bitmap, compressed))
    assert payload.size_bytes <= array.nbytes
    (found,) = codec.decode(_sent(payload))
    assert _same(found, array)


@pytest.mark.parametrize("shape", [(2, 40, 40, 24), (8, 4000), (50_000,)])
@pytest.mark.parametrize("name", ["float32", "bfloat16", "float64", "complex64", "int32", "uint8", "bool"])
def test_long_activations_come_back(name, shape):
    """Long enough for every section to be tried before it is compressed, or not."""
    random = np.random.default_rng(4)
    values = np.maximum(random.standard_normal(shape), 0) * 9
    array = (values * (1 + 1j) if name == "complex64" else values).astype(dtype_of(CODES[name]))
    payload = lossless.encode((array,))
    (found,) = codec.decode(_sent(payload))
    assert _same(found, array)
    assert payload.size_bytes < 0.9 * array.nbytes


@pytest.mark.parametrize("value", [0.0, 2.5], ids=["zeros", "constant"])
def test_what_hardly_holds_anything_takes_hardly_any_bytes(value):
    payload = lossless.encode((np.full((1, 112, 112, 96), value, np.float32),))
    assert payload.size_bytes < 3000
    assert codec.decode(_sent(payload))[0].sum() == pytest.approx(value * 112 * 112 * 96)


def test_noise_is_sent_as_it_is():
    noise = np.random.default_rng(1).integers(0, 1 << 32, 10_000, np.uint32)
    payload = lossless.encode((noise,))
    assert payload.size_bytes == noise.nbytes
    assert np.shares_memory(codec.decode(payload)[0], noise)


def test_raw_copies_nothing_on_either_side():
    arrays = (np.arange(12, dtype=np.float32).reshape(3, 4), np.array([True, False]))
    payload = _encoder(Codec.RAW)(arrays)
    for array, found in zip(arrays, codec.decode(payload), strict=True):
        assert np.shares_memory(found, array)
        assert not found.flags.writeable
    whole = bytearray(b"".join(payload.buffers))
    arrived = dataclasses.replace(payload, buffers=(memoryview(whole),))
    assert all(np.shares_memory(found, np.frombuffer(whole, np.uint8)) for found in codec.decode(arrived))


def test_arrays_that_do_not_lie_in_order_are_sent_in_order():
    turned = np.arange(60, dtype=np.float32).reshape(3, 4, 5).transpose(2, 0, 1)[::2]
    for name in (*LOSSLESS, Codec.FP16):
        assert np.array_equal(codec.decode(_encoder(name)((turned,)))[0], turned)


@settings(deadline=None)
@given(
    st.sampled_from(FLOATS), st.floats(-1e4, 1e4, width=16), st.floats(2**-10, 1e4, width=16), st.integers(0, 2**32 - 1)
)
def test_bytes_are_right_within_half_a_step(name, lowest, width, seed):
    dtype = dtype_of(CODES[name])
    array = (np.random.default_rng(seed).random((3, 5)) * width + lowest).astype(dtype)
    payload = _encoder(Codec.UINT8)((array,))
    assert payload.size_bytes == array.size
    (found,) = codec.decode(_sent(payload))
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    resolution = {"float16": 2e-3, "bfloat16": 2e-2, "float32": 1e-5, "float64": 1e-12}[name]
    allowed = payload.heads[0].scale * 0.501 + np.abs(array.astype(np.float64)).max() * resolution
    assert np.abs(found.astype(np.float64) - array.astype(np.float64)).max() <= allowed


@pytest.mark.parametrize("name", FLOATS)
def test_a_constant_and_an_empty_tensor_survive_as_bytes(name):
    for array in (np.full((2, 3), 7.25, dtype_of(CODES[name])), np.zeros((0, 3), dtype_of(CODES[name]))):
        (found,) = codec.decode(_sent(_encoder(Codec.UINT8)((array,))))
        assert _same(found, array)


@pytest.mark.parametrize("codec_name", list(Codec))
@pytest.mark.parametrize("dtype", [*FLOATS, "int32", "complex64", "bool"])
def test_a_tensor_of_no_dimensions_survives(codec_name, dtype):
    value = np.array(3, dtype_of(CODES[dtype]))
    (found,) = codec.decode(_sent(_encoder(codec_name)((value,))))
    assert _same(found, value)


def test_the_whole_range_of_float32_survives_as_bytes():
    array = np.array([-3.4e38, 0, 3.4e38, 1e38], np.float32)
    (found,) = codec.decode(_encoder(Codec.UINT8)((array,)))
    assert np.abs(found / np.float32(1e38) - array / np.float32(1e38)).max() < 0.014


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_bytes_refuse_what_is_no_number(value):
    with pytest.raises(PayloadError, match="cannot be bytes; ask for another codec than uint8"):
        _encoder(Codec.UINT8)((np.array([1.0, value], np.float32),))


def test_halves_keep_eleven_bits_and_refuse_what_is_beyond_them():
    array = np.random.default_rng(2).standard_normal((4, 9)).astype(np.float32)
    (found,) = codec.decode(_sent(_encoder(Codec.FP16)((array,))))
    assert found.dtype == np.float32
    assert np.abs(found - array).max() <= np.abs(array).max() / 2048
    special = np.array([np.inf, -np.inf, np.nan, 65504], np.float64)
    assert np.array_equal(codec.decode(_encoder(Codec.FP16)((special,)))[0], special, equal_nan=True)
    with pytest.raises(PayloadError, match="beyond what halves hold"):
        _encoder(Codec.FP16)((np.array([np.inf, 1e5], np.float32),))


@pytest.mark.parametrize("name", [Codec.FP16, Codec.UINT8])
@pytest.mark.parametrize("dtype", ["int64", "bool", "complex64", "uint8"])
def test_lossy_codecs_pass_on_what_is_no_float(name, dtype):
    array = np.arange(6).reshape(2, 3).astype(dtype)
    assert _same(codec.decode(_sent(_encoder(name)((array,))))[0], array)


@pytest.mark.parametrize("name", list(Codec))
def test_what_cannot_be_sent_is_named(name):
    for array in (np.array(["text"]), np.array([object()]), np.arange(3, dtype=">f4"), np.arange(3, dtype=">i8")):
        with pytest.raises(PayloadError, match="cannot be"):
            _encoder(name)((array,))


@pytest.mark.parametrize("name", [each for each in Codec if each is not Codec.TENSOR_PROTO])
def test_a_boundary_that_its_receiver_would_refuse_is_not_sent(name):
    huge = np.broadcast_to(np.zeros(1, np.float32), (MAX_BYTES // 4 + 1,))
    with pytest.raises(PayloadError, match="is longer than 1073741824; cut elsewhere or shrink the batch"):
        _encoder(name)((huge,))


def _payload(kind, *heads, data=b""):
    return Payload(kind, heads, (memoryview(data),) if data else ())


ANNOUNCED = [
    (_payload(Codec.RAW, TensorHead("float32", (1 << 40,), 0)), "longer than"),
    (_payload(Codec.RAW, TensorHead("float32", (1 << 62, 1 << 62), 0)), "longer than"),
    (_payload(Codec.RAW, TensorHead("float32", (0, 1 << 62, 1 << 62), 0)), "longer than"),
    (_payload(Codec.LOSSLESS, TensorHead("float64", (1 << 28,), 4, "bitmap"), data=b"abcd"), "longer than"),
    (_payload(Codec.LOSSLESS, *[TensorHead("uint8", (1 << 29,), 1, "bitmap")] * 3, data=b"abc"), "longer than"),
    (_payload(Codec.UINT8, TensorHead("float64", (1 << 28,), 1, "uint8", 1.0), data=b"a"), "longer than"),
    (_payload(Codec.RAW, TensorHead("float32", (-1,), 0)), "no array has"),
    (_payload(Codec.RAW, TensorHead("float32", (1,) * 65, 4), data=b"abcd"), "no array has 65 dimensions"),
    (_payload(Codec.RAW, TensorHead("object", (1,), 8), data=b"x" * 8), "no dtype 'object'"),
    (_payload(Codec.RAW, TensorHead("float32", (1,), 8), data=b"abcd"), "announce 8 bytes, 4 came"),
    (_payload(Codec.RAW, TensorHead("uint8", (4,), -4), TensorHead("uint8", (8,), 8), data=b"abcd"), "announce"),
    (_payload(Codec.RAW, TensorHead("float32", (2,), 4), data=b"abcd"), "takes 8 bytes, 4 came"),
    (_payload(Codec.RAW, data=b"abcd"), "announce 0 bytes, 4 came"),
    (_payload(Codec.AUTO), "no codec auto"),
    (_payload(Codec.LOSSLESS, TensorHead("float32", (1,), 4, "rot13"), data=b"abcd"), "no filter 'rot13'"),
    (_payload(Codec.LOSSLESS, TensorHead("float32", (1,), 4, "channels+bitmap"), data=b"abcd"), "no filter"),
    (_payload(Codec.LOSSLESS, TensorHead("float32", (0, 5, 5, 3), 16, "channels"), data=bytes(16)), "no filter"),
    (_payload(Codec.LOSSLESS, TensorHead("float32", (1,), 4, "bitmap"), data=b"abcd"), "hold no table"),
    (_payload(Codec.FP16, TensorHead("int32", (2,), 4, "fp16"), data=b"abcd"), "no filter 'fp16' of int32"),
    (_payload(Codec.FP16, TensorHead("float32", (2,), 2, "fp16"), data=b"ab"), "2 values as float16 are 4 bytes"),
    (_payload(Codec.UINT8, TensorHead("float32", (2,), 2, "uint8", float("nan")), data=b"ab"), "a scale of nan"),
    (_payload(Codec.TENSOR_PROTO), "TensorProto"),
    (_payload(Codec.TENSOR_PROTO, data=b"\xff\xff"), "TensorProto"),
]


@pytest.mark.parametrize(("payload", "why"), ANNOUNCED, ids=[str(number) for number in range(len(ANNOUNCED))])
def test_heads_that_lie_are_refused(payload, why):
    with pytest.raises(PayloadError, match=re.escape(why)):
        codec.decode(payload)


def _section_bomb():
    """Four zeros are announced; the section would become 64 MB of them."""
    bomb = pa.Codec("zstd", compression_level=1).compress(bytes(64 << 20), asbytes=True)
    table = np.array([16, 16, 16, 16, len(bomb)], "<u8").tobytes()
    data = table + bytes(48) + bomb
    return _payload(Codec.LOSSLESS, TensorHead("float32", (16,), len(data), "shuffle+zstd"), data=data)


def test_a_section_that_grows_beyond_its_head_is_refused():
    with pytest.raises(PayloadError, match="section"):
        codec.decode(_section_bomb())


@settings(deadline=None, max_examples=200)
@given(st.sampled_from([Codec.LOSSLESS, Codec.UINT8, Codec.FP16, Codec.TENSOR_PROTO]), st.data())
def test_damaged_payloads_are_refused_or_decoded_but_never_more(name, data):
    """No other exception, and arrays as announced, whatever happens to the bytes."""
    random = np.random.default_rng(data.draw(st.integers(0, 9)))
    array = np.maximum(random.standard_normal((1, 9, 9, 7)), 0).astype(np.float32)
    payload = _encoder(name)((array,))
    whole = bytearray(b"".join(payload.buffers))
    place = data.draw(st.integers(0, len(whole) - 1))
    if data.draw(st.booleans()):
        del whole[place:]
    else:
        whole[place] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        heads = tuple(dataclasses.replace(head, size_bytes=len(whole)) for head in payload.heads)
        payload = dataclasses.replace(payload, heads=heads)
    try:
        (found,) = codec.decode(dataclasses.replace(payload, buffers=(memoryview(whole),)))
    except PayloadError:
        return
    if payload.heads:
        assert (found.shape, found.dtype) == (array.shape, array.dtype)
