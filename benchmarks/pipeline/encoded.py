"""Real activations over 50 Mbit/s and 42 ms there and back: as ``auto`` writes them, beside raw, in turns."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from benchmarks.network.stats import ratio
from benchmarks.pipeline import codecs
from benchmarks.pipeline.lab_link import ONE_WAY_S, cross, say
from benchmarks.pipeline.shaped import SIZES_BYTES, WARM_UP, array

from slicebed_agent.model.execute.executor import Executor
from slicebed_agent.pipeline.codecs import Codec

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.network.stats import Estimate

# Of a boundary, before the frames that count: `auto` measures its filters on these.
_FIRST: Final = 6


@dataclass(frozen=True)
class Crossing:
    """The frames of one boundary.

    Attributes:
        model: whose boundary it is.
        point: its name.
        raw_bytes: of a frame.
        sent_bytes: of the same as `auto` wrote it, median.
        codec: that it took, of the last frame.
        raw_s: from the array at one end to the array at the other, encoding and decoding included, without one way's
            delay; by frame.
        auto_s: the same as `auto` wrote it.
    """

    model: str
    point: str
    raw_bytes: int
    sent_bytes: int
    codec: str
    raw_s: tuple[float, ...]
    auto_s: tuple[float, ...]

    @property
    def faster(self) -> Estimate:
        """How many times."""
        return ratio(self.raw_s, self.auto_s)

    @property
    def is_relu(self) -> bool:
        """Whether a ReLU is what the boundary lies behind."""
        return "relu" in self.point.lower()


def crossings(frames: int, lite0: Path | None, video: Path | None, note: Callable[[str], None]) -> tuple[Crossing, ...]:
    """Send so many frames of every boundary that is worth a codec.

    Raises:
        BenchmarkError: a lab is up already, or the lab cannot be made.
    """
    found: list[Crossing] = []
    with codecs.subjects(frames, lite0, video) as subjects, tempfile.TemporaryDirectory() as name:
        for opened, pictures in subjects:
            points = codecs.worth_a_codec(opened)
            with Executor(opened.frozen.path) as executor:
                arrays, _ = codecs.activations(executor, opened, points, pictures)
            file = Path(name) / "activations.npz"
            np.savez(file, *(np.stack(arrays[point.name]) for point in points))
            sent, arrived = cross("benchmarks.pipeline.encoded", [str(file)], note)
            for place, point in enumerate(points):
                of = [each for each in sent if each["place"] == place]
                found.append(_crossing(opened.name, point.name, of, arrived))
    return tuple(found)


def _crossing(model: str, point: str, sent: list[dict[str, Any]], arrived: dict[int, int]) -> Crossing:
    took: dict[str, list[float]] = {Codec.RAW: [], Codec.AUTO: []}
    for each in sent:
        took[each["how"]].append((arrived[each["frame_id"]] - each["begun_ns"]) / 1e9 - ONE_WAY_S)
    autos = [each for each in sent if each["how"] == Codec.AUTO]
    sent_bytes = round(float(np.median([each["bytes_out"] for each in autos])))
    raw_s, auto_s = (tuple(took[how]) for how in (Codec.RAW, Codec.AUTO))
    return Crossing(model, point, autos[-1]["bytes_raw"], sent_bytes, autos[-1]["codec"], raw_s, auto_s)


def plain(found: tuple[Crossing, ...]) -> list[dict[str, Any]]:
    """For the file of raw figures."""
    return [asdict(each) for each in found]


def _send(address: str, folder: Path, file: Path) -> None:
    from benchmarks.pipeline.ends import Sender  # noqa: PLC0415 - only the ends load the data plane

    sent = []
    with np.load(file) as boundaries, Sender(address, folder) as sender:
        # These tell what the link carries.
        for _ in range(WARM_UP):
            sender.send(array(SIZES_BYTES[-1]))
        for place in range(len(boundaries.files)):
            frames = boundaries[f"arr_{place}"]
            for number in range(_FIRST):
                sender.send(frames[number % len(frames)], Codec.AUTO)
            for number, each in enumerate(frames):
                ways = (Codec.RAW, Codec.AUTO) if number % 2 else (Codec.AUTO, Codec.RAW)
                for how in ways:
                    frame = sender.send(each, how)
                    told = {"frame_id": frame.frame_id, "begun_ns": frame.received_ns, "codec": frame.codec}
                    sizes = {"bytes_raw": frame.bytes_raw_out, "bytes_out": frame.bytes_out}
                    sent.append({"place": place, "how": how, **told, **sizes})
    say(sent)


if __name__ == "__main__":
    _send(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
