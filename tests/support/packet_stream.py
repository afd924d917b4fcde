"""5,000 UDP packets a second from one network namespace to another, counted where they arrive."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_RECEIVE = """
import socket, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sink:
    sink.setsockopt(socket.SOL_SOCKET, 33, 32 << 20)
    sink.bind((sys.argv[1], 9000))
    print("ready", flush=True)
    came = 0
    while sink.recv(2000) != b"end":
        came += 1
    print(came)
"""
_SEND = """
import socket, sys, time
packets, per_s = int(sys.argv[2]), 5000
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as source:
    start = time.monotonic()
    for sent in range(packets):
        time.sleep(max(0, start + sent / per_s - time.monotonic()))
        source.sendto(bytes(200), (sys.argv[1], 9000))
    time.sleep(0.5)
    source.sendto(b"end", (sys.argv[1], 9000))
"""


def arrived(
    packets: int, address: str, act: Callable[[], object], *, receiver: Sequence[str], sender: Sequence[str] = ()
) -> int:
    """Count the packets that arrive while `act` is called over and over.

    Args:
        packets: as many are sent, each of 200 bytes.
        address: the receiver's.
        act: what might lose some.
        receiver: the command that enters the receiver's namespace.
        sender: the same for the sender; default: here.
    """
    receiving = [*receiver, sys.executable, "-c", _RECEIVE, address]
    sending = [*sender, sys.executable, "-c", _SEND, address, str(packets)]
    with subprocess.Popen(receiving, stdout=subprocess.PIPE, text=True) as sink:
        if sink.stdout is None:
            raise AssertionError
        sink.stdout.readline()
        with subprocess.Popen(sending) as source:
            while source.poll() is None:
                act()
        return int(sink.stdout.readline())
