"""Both ends of one link in this process: a sender as of an agent with a camera, a receiver as of the last agent."""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
import time
from pathlib import Path

import numpy as np

from slicebed_agent.data import DataPlane
from slicebed_agent.pipeline import wire
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.pipeline.contracts import (
    At,
    End,
    Ending,
    Frame,
    Left,
    LinkPlan,
    Payload,
    QueuePlan,
    RunPlan,
    TensorHead,
)
from slicebed_agent.pipeline.inbound import Inbound
from slicebed_agent.pipeline.ledger import Ledger
from slicebed_agent.pipeline.link import Link
from slicebed_agent.pipeline.samples import Spool
from slicebed_agent.rpc import flight
from slicebed_agent.rpc.stream import StreamError
from slicebed_agent.rpc.v1 import link_pb2

PLAIN = flight.Security.plaintext()


def encode(tensors, _version):
    """The arrays' own bytes."""
    heads = tuple(TensorHead(tensor.dtype.name, tensor.shape, tensor.nbytes) for tensor in tensors)
    return Payload(Codec.RAW, heads, tuple(memoryview(tensor.reshape(-1).view(np.uint8)) for tensor in tensors))


def decode(payload):
    """Back to arrays."""
    joined = payload.buffers[0] if len(payload.buffers) == 1 else b"".join(payload.buffers)
    tensors, at = [], 0
    for head in payload.heads:
        tensors.append(np.frombuffer(joined[at : at + head.size_bytes], head.dtype).reshape(head.shape))
        at += head.size_bytes
    return tuple(tensors)


def run_plan(host="cloud", queue=QueuePlan(16), run_id="run", **changes):  # noqa: B008 - frozen
    """A run that comes from "edge"; for the sender give `link`."""
    given = {"previous_host": "edge", "source": None, "stages": (), "link": None}
    return RunPlan(run_id=run_id, host=host, **(given | changes)), queue


class Receiver:
    """What the data plane feeds: an inbound queue, and a worker that answers each frame."""

    def __init__(self, folder, queue=QueuePlan(16), run_id="run", *, paused=False):  # noqa: B008 - frozen
        self.plan, _ = run_plan(run_id=run_id)
        self._spool = Spool(Path(folder) / f"{run_id}-{time.monotonic_ns()}.jsonl")
        self.ledger = Ledger(run_id, "cloud", self._spool, self._relay)
        self.inbound = Inbound(queue, self.ledger, lambda: self._outlet.credit(1))
        self.inbound_credit = self.inbound.credit
        self._outlet = None
        self.over = False
        self.troubles = []
        self.seen = []
        self.frames = []
        self.going = threading.Event()
        if not paused:
            self.going.set()
        threading.Thread(target=self._work, daemon=True).start()

    @property
    def started(self):
        return bool(self.frames)

    def attach(self, outlet):
        if self._outlet is not None or self.over:
            return False
        self._outlet = outlet
        return True

    def receive(self, part):
        self.inbound.offer(part)

    def stream_ended(self, trouble):
        self._outlet = None
        self.troubles.append(trouble)
        self.inbound.broken(trouble or "the stream ended")

    def _relay(self, frame, ending):
        outlet = self._outlet
        if outlet is not None:
            outlet.put(wire.ending_to_wire(frame.frame_id, ending))
        return ending.end

    def _work(self):
        while self.going.wait() and (taken := self.inbound.take()) is not None:
            frame, payload = taken
            self.frames.append(frame)
            self.seen.append((frame.frame_id, decode(payload)))
            self.ledger.left(frame, Left.ANSWERED)
            self.ledger.ended(frame.frame_id, Ending(End.COMPLETED, "cloud", At.ANSWER, output=b"answer"))

    def close(self):
        self.over = True
        self.going.set()
        self.inbound.close()
        if self._outlet is not None:
            self._outlet.close()


class Sender:
    """A link, and the account of what was given to it."""

    def __init__(self, folder, port, queue=QueuePlan(16), part_bytes=1 << 22, **options):  # noqa: B008 - frozen
        self.ends, self.notes, self.broken = {}, [], []
        self._changed = threading.Condition()
        self._spool = Spool(Path(folder) / f"edge-{time.monotonic_ns()}.jsonl")
        run_id = options.pop("run_id", "run")
        self.ledger = Ledger(run_id, "edge", self._spool, self._record)
        host, security = options.pop("next_host", "cloud"), options.pop("security", PLAIN)
        connect_s = options.pop("connect_s", 5.0)
        client = options.pop("client", None) or flight.Client(security)
        address = f"127.0.0.1:{port}"
        warming = {name: options.pop(name) for name in ("warm_bytes", "rate_bit_per_s") if name in options}
        link = LinkPlan(host, address, part_bytes, queue, **warming)
        plan, _ = run_plan(options.pop("host", "edge"), run_id=run_id, link=link, **options)
        connect = functools.partial(client.connect, address, host)
        self.link = Link(plan, encode, connect, self.ledger, self.notes.append, self.broken.append, connect_s=connect_s)
        self._numbers = itertools.count()

    def _record(self, frame, ending):
        with self._changed:
            assert frame.frame_id not in self.ends, "a frame ended twice"
            self.ends[frame.frame_id] = ending
            self._changed.notify_all()
        return ending.end

    def send(self, *tensors):
        """Give the link a frame; its number."""
        now = time.monotonic_ns()
        frame = Frame(next(self._numbers), now, now, At.SOURCE)
        self.ledger.opened(frame)
        self.link.deliver(frame, tensors or (np.full(4, frame.frame_id, np.float32),))
        return frame.frame_id

    def wait(self, count, timeout_s=20):
        """Until so many frames have ended; how each did."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.ends) >= count, timeout_s), f"{len(self.ends)} of {count}"
            return [self.ends[number].end for number in sorted(self.ends)]

    def close(self):
        self.link.close(drained=self.ledger.idle)


class Ends:
    """Makes receivers and senders, and ends them after the test."""

    def __init__(self, folder, closing):
        self.folder, self._closing = folder, closing
        self.run = None

    def plane(self, security=PLAIN, address="127.0.0.1:0"):
        """A data plane that serves whatever `self.run` is then; with its port."""
        plane = DataPlane(lambda: self.run, security)
        port = plane.listen(address)
        self._closing.callback(plane.stop, 0.2)
        return plane, port

    def receiver(self, *arguments, **options):
        self.run = Receiver(self.folder, *arguments, **options)
        self._closing.callback(self.run.close)
        return self.run

    def sender(self, port, *arguments, **options):
        sender = Sender(self.folder, port, *arguments, **options)
        self._closing.callback(sender.close)
        return sender


@contextlib.contextmanager
def both_ends(folder):
    with contextlib.ExitStack() as closing:
        yield Ends(folder, closing)


def wait_for(condition, timeout_s=10):
    """Until it holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.01)


def hello(run_id="run", host="edge", attempt=0):
    """How a stream of the run begins."""
    return link_pb2.StreamHello(run_id=run_id, host=host, attempt=attempt).SerializeToString()


def last_words(stream):
    """How a stream ends: the farewell's reason and the error."""
    reason = None
    try:
        while (message := stream.read()) is not None:
            reply = link_pb2.LinkReply.FromString(message.metadata)
            if reply.HasField("farewell"):
                reason = reply.farewell.reason
                stream.finish()
    except StreamError as error:
        return reason, error.fault
    return reason, None
