"""The worker: one frame at a time through decode, compute, overhead sleep and encode."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent.errors import PayloadError
from slicebed_agent.pipeline.contracts import Bench, End, Frame, Stage, Tensors

if TYPE_CHECKING:
    from collections.abc import Callable

    from slicebed_agent.pipeline.ledger import Ledger

_LOG = logging.getLogger(__name__)
_JOIN_S: Final = 10.0


class Worker:
    """Takes frames, runs the slice on them, and delivers the result; a frame that fails does not stop it."""

    def __init__(
        self,
        bench: Bench,
        overhead_ratio: float,
        ledger: Ledger,
        take: Callable[[], tuple[Frame, Tensors | bytes] | None],
        deliver: Callable[[Frame, bytes], None],
    ) -> None:
        """Make a worker that stands still until `start`.

        Args:
            bench: the slice and the codec.
            overhead_ratio: how long to sleep after computing, in multiples of the compute time.
            ledger: told of frames that fail here.
            take: waits for the next frame, serialised or as arrays; None ends the worker.
            deliver: takes the serialised result.
        """
        self._bench, self._ratio, self._ledger = bench, overhead_ratio, ledger
        self._take, self._deliver = take, deliver
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._work, name="slice", daemon=True)

    def start(self) -> None:
        """Begin taking frames."""
        self._thread.start()

    def halt(self) -> None:
        """Cut an overhead sleep short; the caller closes what `take` waits for."""
        self._halt.set()

    def join(self) -> None:
        """Wait for the frame in hand."""
        if self._thread.ident is not None:
            self._thread.join(_JOIN_S)
            if self._thread.is_alive():
                _LOG.error("slice: a frame computes for more than %g s, its thread was left behind", _JOIN_S)

    def _work(self) -> None:
        while (job := self._take()) is not None:
            frame, content = job
            try:
                self._process(frame, content)
            except PayloadError as error:
                self._fail(frame, str(error))
            # TensorFlow raises what its kernels meet (memory, shapes); the frame is lost, the agent is not.
            except Exception as error:  # noqa: BLE001 - reported as the frame's end and logged
                self._fail(frame, f"{type(error).__name__}: {error}")

    def _process(self, frame: Frame, content: Tensors | bytes) -> None:
        begin = time.monotonic_ns()
        frame.queue_wait_ns = begin - frame.complete_ns
        if isinstance(content, bytes):
            frame.stage = Stage.DECODE
            content = self._bench.decode(content)
            frame.decode_ns, begin = _lap(begin)
        frame.stage = Stage.SLICE
        result = self._bench.compute(content)
        frame.compute_ns, begin = _lap(begin)
        self._halt.wait(self._ratio * frame.compute_ns / 1e9)
        frame.overhead_ns, begin = _lap(begin)
        data = self._bench.encode(result)
        frame.encode_ns, begin = _lap(begin)
        self._deliver(frame, data)

    def _fail(self, frame: Frame, reason: str) -> None:
        line = " ".join(reason.split())
        _LOG.error("frame %d failed at %s: %s", frame.frame_id, frame.stage, line)
        self._ledger.stopped_here(frame, End.FAILED, frame.stage, line)


def _lap(begin_ns: int) -> tuple[int, int]:
    now = time.monotonic_ns()
    return now - begin_ns, now
