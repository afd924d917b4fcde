"""Arrow Flight itself: which connection carries a stream, what a refusal says, what the start of Arrow leaves."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading

import pytest
from link_ends import PLAIN, hello

from slicebed_agent.rpc import flight
from slicebed_agent.rpc.stream import Fault, StreamError


def test_a_connection_whose_stream_ended_well_carries_the_next_one():
    peers, refused = [], threading.Event()

    def take(call):
        peers.append(call.peer)
        while call.read() is not None:
            pass
        if refused.is_set():
            raise StreamError(Fault.NOT_READY, "not now")

    server = flight.serve("127.0.0.1:0", PLAIN, take)
    client = flight.Client(PLAIN)

    def stream():
        opened = client.connect(f"127.0.0.1:{server.port}", "cloud", hello())
        opened.write(b"", None)
        return opened

    def end(opened):
        opened.finish()
        with contextlib.suppress(StreamError):
            while opened.read() is not None:
                pass

    for _ in range(3):
        end(stream())
    # Two at a time have two connections; one that was refused has no heir.
    both = [stream(), stream()]
    for each in both:
        end(each)
    refused.set()
    end(stream())
    refused.clear()
    end(stream())
    assert len(set(peers[:3])) == 1
    assert len({peers[0], *peers[3:5]}) == 2
    assert peers[6] not in peers[:6]
    # The other agent starts anew: its port is the same, the connection is not.
    port = server.port
    server.stop(0.2)
    server = flight.serve(f"127.0.0.1:{port}", PLAIN, take)
    end(stream())
    assert peers[7] not in peers[:7]
    client.close()
    server.stop(0.2)


@pytest.mark.parametrize("fault", list(Fault))
def test_a_refusal_carries_its_fault_and_nothing_of_the_code(fault):
    def refuse(_):
        raise StreamError(fault, "no frames today")

    server = flight.serve("127.0.0.1:0", PLAIN, refuse)
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{server.port}", "cloud", b"")
    with pytest.raises(StreamError) as refused:
        stream.read()
    assert (refused.value.fault, refused.value.what) == (fault, "no frames today")
    # Where an invalid argument is raised Arrow tells along with it.
    assert ("Traceback" in repr(refused.value.__cause__)) is (fault is Fault.MALFORMED)
    server.stop(0)


def test_a_defect_of_the_agent_is_not_shown_to_the_other_side(caplog):
    def fail(_):
        raise ZeroDivisionError

    server = flight.serve("127.0.0.1:0", PLAIN, fail)
    stream = flight.Client(PLAIN).connect(f"127.0.0.1:{server.port}", "cloud", b"")
    with pytest.raises(StreamError, match="the agent failed; its log says how") as refused:
        stream.read()
    assert "Traceback" not in repr(refused.value.__cause__)
    assert "ZeroDivisionError" in caplog.text
    server.stop(0)


def test_importing_the_agent_does_not_import_arrow():
    code = "import sys, slicebed_agent.data; sys.exit('pyarrow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_environment_is_as_it_was():
    code = "import os, slicebed_agent.rpc.flight_core; print(os.environ.get('GRPC_EXPERIMENTS'))"
    plain = {name: value for name, value in os.environ.items() if name != "GRPC_EXPERIMENTS"}
    for given in ({}, {"GRPC_EXPERIMENTS": "pick_first_new"}):
        said = subprocess.run(
            [sys.executable, "-c", code], env=plain | given, capture_output=True, text=True, check=True
        )
        assert said.stdout.strip() == given.get("GRPC_EXPERIMENTS", "None")
