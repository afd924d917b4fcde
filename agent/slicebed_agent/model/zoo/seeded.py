"""Weights from a seed: the same numbers on every host, whatever TensorFlow, Keras or processor it has."""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from slicebed_agent.model.zoo.entries import Entry

Values = npt.NDArray[np.float32]

_HALF: Final = 2**22  # of 23 bits, so that float32 holds every value, balanced or not
_LITTLE: Final = 0.1  # offsets and statistics differ this much, so that no channel is like another


def fill(model: Any, known: Entry, seed: int) -> None:
    """Give every variable of a model of the zoo its seeded values.

    Args:
        model: a Keras model as `build` made it.
        known: its entry, whose gains keep activations finite and alive through all layers.
        seed: what the values are drawn from, with each variable's path.
    """
    head = model.layers[-1]
    for layer in model.layers:
        for variable in layer.weights:
            role = variable.path.rpartition("/")[2]
            depthwise = "depthwise" in role or (role == "kernel" and "Depthwise" in type(layer).__name__)
            values = _values(role, tuple(variable.shape), known.gain, seed, variable.path, depthwise=depthwise)
            variable.assign(values * np.float32(known.head_gain) if layer is head and role == "kernel" else values)


def uniform(shape: tuple[int, ...], seed: int, path: str, *, balanced: bool = False) -> Values:
    """Values between -1 and 1 for one variable.

    Made from the raw bits of a bit generator, whose stream numpy promises to keep; it does not promise that of the
    distributions (NEP 19). Sums are of integers and every other step is exact, so that no processor rounds otherwise.

    Args:
        shape: of the result.
        seed: of the whole model.
        path: of the variable.
        balanced: along all dimensions but the last the values add up to nothing.

    Returns:
        float32 of this shape.
    """
    count = math.prod(shape)
    key = hashlib.sha256(f"{seed}:{path}".encode()).digest()
    generator = np.random.PCG64(np.frombuffer(key, "<u4").tolist())
    words: npt.NDArray[np.uint64] = np.atleast_1d(generator.random_raw((count + 1) // 2))
    bits = words.astype("<u8", copy=False).view("<u4")[:count]
    bits >>= np.uint32(9)  # in place, as what follows: the largest variable has 103 million values
    drawn = bits.view("<i4").reshape(shape)
    drawn -= np.int32(_HALF)
    if balanced:
        rest = tuple(range(len(shape) - 1))
        drawn -= (drawn.sum(axis=rest, dtype=np.int64) // math.prod(shape[:-1])).astype(np.int32)
    values = drawn.astype(np.float32)
    values *= np.float32(1 / _HALF)
    return values


def image(known: Entry, seed: int, frames: int = 1) -> Values:
    """Frames to try a model with: smooth blots of every colour over its whole range, drawn from a seed.

    Returns:
        float32 of shape (frames, *input_shape).
    """
    height, width, channels = known.input_shape
    low, high = known.input_range
    rows, columns = np.linspace(0, 1, height)[:, None], np.linspace(0, 1, width)[None, :]
    result = np.zeros((frames, height, width, channels))
    for frame, plane in np.ndindex(frames, channels):
        for turn, weight in enumerate((1.0, 0.5, 0.25, 0.125)):
            draws = uniform((4,), seed, f"image/{frame}/{plane}/{turn}").astype(np.float64)
            down, across, start, sign = (draws + 1) / 2
            wave = np.sin(2 * np.pi * (rows * down + columns * across) * 3 * 2**turn + 2 * np.pi * start)
            result[frame, :, :, plane] += weight * wave * (1 if sign > 0.5 else -1)
    result = np.clip(result / 1.5, -1, 1)
    return (low + (result + 1) / 2 * (high - low)).astype(np.float32)


def _values(role: str, shape: tuple[int, ...], gain: float, seed: int, path: str, *, depthwise: bool) -> Values:  # noqa: PLR0913 - one variable's facts
    is_kernel = role.endswith("kernel") and not depthwise
    # A rectifier's output is positive; kernels that add up to nothing keep its mean, which every frame has, from
    # drowning what differs between frames.
    noise = uniform(shape, seed, path, balanced=is_kernel and math.prod(shape[:-1]) > 1)
    if role == "gamma":
        return 1 + noise * np.float32(_LITTLE)
    if role == "moving_variance":
        return (1 + noise * np.float32(_LITTLE)) * np.float32(gain**-2)
    if role in {"beta", "moving_mean", "bias"}:
        return noise * np.float32(_LITTLE)
    # He et al. 2015: keeps the signal's power through a rectifier; uniform, hence 6 in place of 2.
    fan_in = math.prod(shape[:2]) if depthwise else math.prod(shape[:-1])
    noise *= np.float32(math.sqrt(6 / fan_in))
    return noise
