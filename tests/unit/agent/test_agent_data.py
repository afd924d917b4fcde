"""The data plane against what is not a neighbour of the run: garbage, the silent and the stuck."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from link_ends import PLAIN, both_ends, hello, last_words, wait_for

from slicebed_agent import data
from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.pipeline import session
from slicebed_agent.pipeline.contracts import End, QueuePlan
from slicebed_agent.pipeline.queues import Policy
from slicebed_agent.rpc import flight, flight_server
from slicebed_agent.rpc.stream import Fault, StreamError
from slicebed_agent.rpc.v1 import agent_pb2, link_pb2


@pytest.fixture
def ends(tmp_path):
    with both_ends(tmp_path) as made:
        yield made


def part(**changes):
    head = link_pb2.FrameHead(
        codec=agent_pb2.CODEC_RAW, tensors=[link_pb2.TensorHead(dtype="float32", shape=[1], bytes=4)]
    )
    usual = {"frame_id": 0, "part_index": 0, "part_count": 1, "total_bytes": 4, "head": head, "payload": b"1234"}
    return link_pb2.LinkMessage(part=link_pb2.FramePart(**(usual | changes))).SerializeToString()


def test_a_stream_that_has_ended_takes_nothing_more(ends):
    """gRPC ends the whole process that asks more of a call which is over."""
    _, port = ends.plane()
    for _ in range(20):
        stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello(run_id="none"))
        _, fault = last_words(stream)
        assert fault is Fault.NOT_READY
        stream.finish()
        with pytest.raises(StreamError, match="has ended"):
            stream.write(part())


# What is sent.


@pytest.mark.parametrize(
    ("message", "body", "says"),
    [
        (b"\xff\xff\xff", None, "no LinkMessage"),
        (link_pb2.LinkMessage(read_bytes=1).SerializeToString(), None, "content that is not known"),
        (part(part_count=0), None, "part_count 0"),
        (part(total_bytes=1 << 31), None, "total_bytes 2147483648 is more than"),
        (part(head=None), None, "part 0 without a head"),
        (part(part_index=1, part_count=2, total_bytes=8, head=None), None, "begins with part 1"),
        (part(total_bytes=8), None, "announce 4 bytes of 8"),
        (part(payload=b""), None, "payload of 0 bytes"),
        (part(), b"x" * 10, "beside it"),
        (part(head=link_pb2.FrameHead(codec=agent_pb2.CODEC_AUTO)), None, "codec 6"),
    ],
)
def test_a_malformed_message_ends_its_stream_and_no_other(ends, message, body, says):
    _, port = ends.plane()
    receiver = ends.receiver()
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello())
    stream.write(message, None if body is None else memoryview(body))
    reason, fault = last_words(stream)
    assert fault is Fault.MALFORMED
    assert says in reason
    wait_for(lambda: receiver.troubles)
    assert says in receiver.troubles[0]
    # The agent goes on: the next run's stream works.
    ends.receiver(run_id="next")
    sender = ends.sender(port, run_id="next")
    sender.send()
    assert sender.wait(1) == [End.COMPLETED]


@pytest.mark.parametrize(
    "tensor",
    [
        {"dtype": "object"},
        {"dtype": "float32" * 1000},
        {"shape": [2]},
        {"shape": [1] * 65},
        {"shape": [1 << 40, 1 << 40], "bytes": 4},
        {"scale": float("nan")},
    ],
)
def test_a_head_that_lies_is_refused_before_anything_is_allocated(ends, tensor):
    _, port = ends.plane()
    ends.receiver()
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello())
    announced = link_pb2.TensorHead(**({"dtype": "float32", "shape": [1], "bytes": 4} | tensor))
    stream.write(part(head=link_pb2.FrameHead(codec=agent_pb2.CODEC_RAW, tensors=[announced])))
    assert last_words(stream)[1] is Fault.MALFORMED


def test_a_record_batch_that_no_agent_sends_is_refused(ends):
    import pyarrow as pa
    from pyarrow import flight as arrow

    _, port = ends.plane()
    ends.receiver()
    client = arrow.connect(f"grpc://127.0.0.1:{port}")
    writer, reader = client.do_exchange(arrow.FlightDescriptor.for_command(hello()))
    table = pa.record_batch({"payload": pa.array([b"a", b"b"], pa.binary()), "more": pa.array([1, 2])})
    writer.begin(table.schema)
    writer.write_with_metadata(table, part())
    # gRPC's INVALID_ARGUMENT, as every client of Arrow is told.
    with pytest.raises(pa.ArrowInvalid, match="a record batch of 2 rows"):
        list(iter(reader.read_chunk, None))
    client.close()


@pytest.mark.parametrize("beside", [False, True], ids=["within", "beside"])
def test_a_message_without_an_end_is_cut_before_it_is_read(ends, beside):
    _, port = ends.plane()
    receiver = ends.receiver()
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello())
    long = bytes(400_000_000)
    with pytest.raises(StreamError):
        stream.write(part(), memoryview(long)) if beside else stream.write(long)
    assert last_words(stream)[1] is Fault.UNREACHABLE
    wait_for(lambda: receiver.troubles)
    assert "bytes came that end no message; the longest is 16777216" in receiver.troubles[0]


def test_of_a_stream_that_is_refused_nothing_is_read(ends, monkeypatch):
    monkeypatch.setattr(flight_server._ServedCall, "read", lambda _: pytest.fail("was read"))
    _, port = ends.plane()
    ends.receiver()
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello("other"))
    with contextlib.suppress(StreamError):
        stream.write(bytes(50_000_000))
    assert last_words(stream)[1] is Fault.NOT_READY


def test_a_refusal_is_logged_once_for_each_reason(ends, caplog):
    _, port = ends.plane()
    ends.receiver()
    for run_id in ("other", "other", "third", "other"):
        assert (
            last_words(flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello(run_id)))[1] is Fault.NOT_READY
        )
    refused = [line for line in caplog.messages if "refused" in line]
    assert [("'other'" in line, "'third'" in line) for line in refused] == [(True, False), (False, True)]


def test_what_still_comes_after_a_farewell_is_cut(ends):
    _, port = ends.plane()
    ends.receiver()
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello())
    stream.write(b"\xff\xff\xff")

    def flood():
        for _ in range(100):
            stream.write(part(), memoryview(bytes(4_000_000)))

    with pytest.raises(StreamError):
        flood()
    stream.cancel()


def test_more_frames_than_there_is_credit_for_are_refused(ends):
    _, port = ends.plane()
    ends.receiver(QueuePlan(2, Policy.BLOCK), paused=True)
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello())
    for number in range(3):
        stream.write(part(frame_id=number))
    reason, fault = last_words(stream)
    assert (fault, "credit" in reason) == (Fault.MALFORMED, True)


def test_a_sender_that_comes_again_replaces_its_former_stream(ends):
    _, port = ends.plane()
    receiver = ends.receiver()
    former = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello())
    assert former.read() is not None
    again = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello(attempt=1))
    assert link_pb2.LinkReply.FromString(again.read().metadata).HasField("welcome")
    assert receiver.troubles == ["its sender opened another stream"]
    assert last_words(former)[1] is Fault.UNREACHABLE
    again.cancel()


# Who is silent.


def test_a_sender_that_is_silent_loses_its_stream(ends, monkeypatch):
    monkeypatch.setattr(data, "SILENCE_S", 0.5)
    _, port = ends.plane()
    receiver = ends.receiver()
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello())
    wait_for(lambda: receiver.troubles)
    assert "nothing came from the agent before" in receiver.troubles[0]
    assert last_words(stream)[1] is Fault.UNREACHABLE


_RECEIVE = """
import sys, threading
from link_ends import both_ends
with both_ends(sys.argv[1]) as ends:
    ends.receiver()
    print(ends.plane()[1], flush=True)
    threading.Event().wait()
"""


@pytest.fixture
def elsewhere(tmp_path):
    """A receiver in another process, and its port."""
    paths = os.pathsep.join(path for path in sys.path if path)
    process = subprocess.Popen(
        [sys.executable, "-c", _RECEIVE, str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    yield process, int(process.stdout.readline())
    process.kill()
    process.wait()
    process.stdout.close()


def stand_still(process):
    """Stop a process; what a thread of it still did when the signal was sent is done when this returns."""
    process.send_signal(signal.SIGSTOP)
    tasks = Path(f"/proc/{process.pid}/task")
    wait_for(lambda: all(_state(task) == "T" for task in tasks.iterdir()))


def _state(task):
    return (task / "stat").read_text().rpartition(")")[2].split()[0]


def test_a_receiver_that_stands_still_breaks_the_link(ends, elsewhere, monkeypatch):
    monkeypatch.setattr(session, "SILENCE_S", 1.0)
    process, port = elsewhere
    sender = ends.sender(port)
    sender.send()
    assert sender.wait(1) == [End.COMPLETED]
    stand_still(process)
    sender.send()
    assert sender.wait(2)[1] is End.FAILED
    assert "nothing came from the agent for" in sender.ends[1].reason


def test_a_receiver_that_is_killed_breaks_the_link_at_once(ends, elsewhere):
    process, port = elsewhere
    sender = ends.sender(port)
    process.kill()
    wait_for(lambda: sender.broken, timeout_s=3)
    assert sender.broken[0].host == "cloud"


# How it ends.


def test_stopping_does_not_wait_for_a_sender_that_never_reads(ends):
    plane, port = ends.plane()
    ends.receiver()
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{port}", "cloud", hello())
    stream.write(link_pb2.LinkMessage(probe=link_pb2.ClockProbe(sent_ns=1)).SerializeToString())
    began = time.monotonic()
    plane.stop(0.3)
    assert time.monotonic() - began < 4
    stream.cancel()


def test_an_address_that_is_taken_is_an_error(ends):
    _, port = ends.plane()
    with pytest.raises(AgentError, match="Address already in use; is the address this host's"):
        ends.plane(address=f"127.0.0.1:{port}")
    with pytest.raises(AgentConfigError, match="not an address: 'nowhere'"):
        ends.plane(address="nowhere")


def test_an_address_with_connections_of_an_earlier_agent_is_free(ends):
    plane, port = ends.plane()
    ends.receiver()
    ends.sender(port).send()
    plane.stop(0.2)
    again, _ = ends.plane(address=f"127.0.0.1:{port}")
    again.stop(0)
    with socket.socket() as left:
        left.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        left.bind(("127.0.0.1", port))
