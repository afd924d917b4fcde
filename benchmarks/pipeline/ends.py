"""The two ends of Slicebed's link without a model: what two agents do with a boundary, from array to array."""

from __future__ import annotations

import functools
import itertools
import json
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

from benchmarks.slicer.workers import BenchmarkError

from slicebed_agent import codec
from slicebed_agent.data import DataPlane
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import (
    DEFAULT_PART_BYTES,
    Bench,
    End,
    Ending,
    Frame,
    LinkPlan,
    QueuePlan,
    Result,
    RunPlan,
    StagePlan,
    Tensor,
    Tensors,
)
from slicebed_agent.pipeline.ledger import Ledger
from slicebed_agent.pipeline.link import Link
from slicebed_agent.pipeline.run import Run
from slicebed_agent.pipeline.samples import Spool
from slicebed_agent.rpc import flight

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed_agent.pipeline.contracts import Payload

_RUN: Final = "bench"
_SENDER, _RECEIVER = "edge", "cloud"
_PLACES: Final = 16
_GRACE_S: Final = 1.0


class Receiver:
    """Takes arrays, decodes them, and answers."""

    def __init__(self, address: str, folder: Path) -> None:
        """Listen on host:port; samples go into the folder."""
        self._samples = folder / f"{_RECEIVER}.jsonl"
        plan = RunPlan(_RUN, _RECEIVER, _SENDER, None, (StagePlan("slice", QueuePlan(_PLACES)),), None)
        self._run = Run(plan, Bench({"slice": _untouched}, codec.decode, lambda _: b"k"), None, self._samples)
        self._plane = DataPlane(lambda: self._run, flight.Security.plaintext())
        self.port = self._plane.listen(address)

    def decoded_ns(self) -> dict[int, int]:
        """When each array was there, on this machine's monotonic clock; the stream ends by that."""
        self._run.close(_GRACE_S, "the benchmark is over")
        lines = [json.loads(line) for line in self._samples.read_text("utf-8").splitlines()]
        frames = [line for line in lines if line["kind"] == "frame"]
        # Waiting is not counted: the stage has nothing else to do.
        return {
            line["frame_id"]: line["received_ns"] + line["receive_ns"] + line["decode_ns"]
            for line in frames
            if line["left"] == "answered"
        }

    def __enter__(self) -> Self:
        """For a with block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._plane.stop(_GRACE_S)


class Sender:
    """Sends arrays and is told of each one's end, as the agent with the camera is."""

    def __init__(self, address: str, folder: Path) -> None:
        """Open the link to the receiver at host:port; samples go into the folder."""
        to = LinkPlan(_RECEIVER, address, DEFAULT_PART_BYTES, QueuePlan(_PLACES))
        plan = RunPlan(_RUN, _SENDER, None, None, (), to)
        self._numbers = itertools.count()
        self._ended = threading.Semaphore(0)
        self._failed: Ending | None = None
        self._encoders = {
            each: codec.encoder(each, lambda: self._link.state().rate_bit_per_s, _ignore)
            for each in (Codec.RAW, Codec.AUTO)
        }
        self._how = Codec.RAW
        self._ledger = Ledger(_RUN, _SENDER, Spool(folder / f"{_SENDER}.jsonl"), self._record)
        self._link = Link(
            plan,
            self._encode,
            functools.partial(flight.Client(flight.Security.plaintext()).connect, address, _RECEIVER),
            self._ledger,
            _ignore,
            _ignore,
        )

    def begin(self, array: Tensor, how: Codec = Codec.RAW) -> Frame:
        """Hand an array over for sending; one that is encoded in another way than the one before, once that ended."""
        self._how = how
        now = time.monotonic_ns()
        frame = Frame(next(self._numbers), now, now, "source")
        self._ledger.opened(frame)
        self._link.deliver(frame, (array,))
        return frame

    def wait(self) -> None:
        """Until one more array has ended.

        Raises:
            BenchmarkError: it was not answered.
        """
        self._ended.acquire()
        if self._failed is not None:
            raise BenchmarkError(str(self._failed))

    def send(self, array: Tensor, how: Codec = Codec.RAW) -> Frame:
        """Send an array and wait for its end; its times are in the frame."""
        frame = self.begin(array, how)
        self.wait()
        return frame

    def _encode(self, tensors: Tensors, version: int) -> Payload:
        return self._encoders[self._how](tensors, version)

    def _record(self, _frame: Frame, ending: Ending) -> End:
        if ending.end is not End.COMPLETED:
            self._failed = ending
        self._ended.release()
        return ending.end

    def __enter__(self) -> Self:
        """For a with block."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the stream."""
        self._link.close(drained=True)


def _untouched(_version: int, tensors: Tensors) -> Result:
    return Result(tensors)


def _ignore(_: Any) -> None:
    """Take it and forget it."""
