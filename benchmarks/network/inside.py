"""What runs inside a namespace of the benchmark, with nothing but the standard library: one part per command line.

Every part speaks lines of JSON on its standard streams and ends when its input does, so that nothing outlives the
benchmark:

    shell                  runs commands and times them; entering the namespace is not part of the time
    send ADDRESS PORT PPS  sends numbered UDP packets until it is told to stop
    receive PORT           counts them
    observe                counts what the kernel announces of qdiscs, classes and filters (group RTNLGRP_TC)
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

_NUMBER = struct.Struct("!Q")
_PAYLOAD_BYTES = 172
_TICK_S = 0.001
# A sender that was held up longer skips what it missed: a burst of it all would test queues, not the tool.
_LATEST_TICKS = 20
_QUIET_S = 0.3
_BUFFER_BYTES = 32 << 20
_SO_RCVBUFFORCE = 33
_RTNLGRP_TC = 4
_NETLINK_HEADER = struct.Struct("=IHHII")
_FIRST_RTM = 16


def shell() -> None:
    """Run each request's commands one after the other; answer with the seconds, exit codes and last error line."""
    for line in sys.stdin:
        request = json.loads(line)
        codes: list[int] = []
        errors: list[str] = []
        begin = time.perf_counter()
        for argv in request["commands"]:
            ran = subprocess.run(argv, capture_output=True, check=False, env=request.get("env"), cwd=request.get("cwd"))
            codes.append(ran.returncode)
            errors.append(ran.stderr.decode(errors="replace"))
        seconds = time.perf_counter() - begin
        out = ran.stdout.decode(errors="replace") if request.get("output") else ""
        _say({"seconds": seconds, "codes": codes, "errors": "".join(errors)[-4000:], "output": out})


def send(address: str, port: int, packets_per_s: int) -> None:
    """Send numbered packets until a line comes in; answer with how many were sent and how many ticks were skipped."""
    outlet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    outlet.connect((address, port))
    padding = bytes(_PAYLOAD_BYTES - _NUMBER.size)
    per_tick = round(packets_per_s * _TICK_S)
    sent = skipped = refused = 0
    due = begin = time.perf_counter()
    while not select.select([sys.stdin], [], [], max(0.0, due - time.perf_counter()))[0]:
        for _ in range(per_tick):
            # A full queue may say so (ENOBUFS); the packet is lost all the same and counts as sent.
            try:
                outlet.send(_NUMBER.pack(sent) + padding)
            except OSError:
                refused += 1
            sent += 1
        if sent == per_tick:
            _say({"started": True})
        due += _TICK_S
        late = int((time.perf_counter() - due) / _TICK_S)
        if late > _LATEST_TICKS:
            skipped += late
            due += late * _TICK_S
    _say({"sent": sent, "skipped_ticks": skipped, "refused": refused, "seconds": time.perf_counter() - begin})


def receive(port: int) -> None:
    """Count the packets until a line comes in and the wire is quiet; answer with how many different ones came."""
    inlet = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    inlet.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    inlet.bind(("0.0.0.0", port))  # noqa: S104 - the namespace's own addresses, and nothing else is in there
    inlet.settimeout(_QUIET_S)
    overflowed = _buffer_errors()
    asked_to_stop = threading.Event()
    threading.Thread(target=_set_at_next_line, args=(asked_to_stop,), daemon=True).start()
    _say({"ready": True})
    seen: set[int] = set()
    while True:
        try:
            seen.add(_NUMBER.unpack_from(inlet.recv(2048))[0])
        except TimeoutError:
            if asked_to_stop.is_set():
                break
    _say({"received": len(seen), "buffer_errors": _buffer_errors() - overflowed})


def observe() -> None:
    """Answer every line of input with the announcements counted since the line before."""
    ear = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
    ear.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _BUFFER_BYTES)
    ear.bind((0, 1 << (_RTNLGRP_TC - 1)))
    ear.settimeout(0)
    counted = 0
    _say({"ready": True})
    while True:
        ready = select.select([ear, sys.stdin], [], [])[0]
        with contextlib.suppress(BlockingIOError):
            while True:
                counted += _messages(ear.recv(1 << 20))
        if sys.stdin in ready:
            if not sys.stdin.readline():
                return
            _say({"announced": counted})
            counted = 0


def _set_at_next_line(event: threading.Event) -> None:
    sys.stdin.readline()
    event.set()


def _messages(datagram: bytes) -> int:
    count = at = 0
    while at + _NETLINK_HEADER.size <= len(datagram):
        length, kind, *_ = _NETLINK_HEADER.unpack_from(datagram, at)
        count += kind >= _FIRST_RTM
        at += max((length + 3) & ~3, _NETLINK_HEADER.size)
    return count


def _buffer_errors() -> int:
    names, values = (
        line.split() for line in Path("/proc/net/snmp").read_text("ascii").splitlines() if line.startswith("Udp:")
    )
    return int(values[names.index("RcvbufErrors")])


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def main(part: str, *rest: str) -> None:
    """Run one part."""
    if part == "shell":
        shell()
    elif part == "send":
        send(rest[0], int(rest[1]), int(rest[2]))
    elif part == "receive":
        receive(int(rest[0]))
    elif part == "observe":
        observe()
    else:
        sys.exit(f"no part {part}: shell, send, receive or observe")


if __name__ == "__main__":
    main(*sys.argv[1:])
