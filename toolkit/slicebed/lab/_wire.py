"""One wire of the lab on a kernel without netem: a process between two taps that holds packets back, loses, repeats.

It runs as a file, with the standard library only, so that a wire starts in 0.1 s and holds little memory. Its
reasons, and what it was measured against, are in docs/adr/0007-tap-wires.md.
"""

from __future__ import annotations

import ctypes
import fcntl
import gc
import heapq
import json
import math
import os
import random
import select
import socket
import struct
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable

# include/uapi/linux/if_tun.h, include/uapi/linux/sched.h, include/uapi/linux/prctl.h
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
CLONE_NEWNET = 0x40000000
PR_SET_NAME, PR_SET_TIMERSLACK = 15, 29
# Ethernet and IPv4: ethertype at 12, protocol at 14 + 9.
_IPV4, _PROTOCOL_AT, _TCP = b"\x08\x00", 23, 6
_FRAME_BYTES = 9234
_READS_AT_ONCE = 64
# Of each direction; 100 Mbit/s over 10 s of delay are 83,000 full frames.
MAX_HELD_PACKETS = 100_000
_MAX_MESSAGE_BYTES = 65536
# Weight of the newest lateness, and the most that timers are trusted to be late by.
_LEAD_WEIGHT, _MAX_LEAD_S = 0.02, 300e-6
DISTRIBUTIONS = ("normal", "uniform", "pareto", "paretonormal")


@dataclass(frozen=True)
class WireSetting:
    """What one direction of a wire does to its packets; shares are 0 to 1.

    Attributes:
        delay_us: one-way delay.
        jitter_us: standard deviation of the delay.
        distribution: ``normal``, ``uniform``, ``pareto`` or ``paretonormal``, as netem's tables.
        loss: share of packets lost.
        loss_correlation: correlation of a loss with the one before; the share stays as asked.
        duplicate: share of packets sent twice.
        reorder: share of packets that leave at once, past those that are held.
        reorder_correlation: correlation of an overtaking with the one before.
    """

    delay_us: int = 0
    jitter_us: int = 0
    distribution: str = "normal"
    loss: float = 0.0
    loss_correlation: float = 0.0
    duplicate: float = 0.0
    reorder: float = 0.0
    reorder_correlation: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what no wire can do; raises ValueError."""
        if not 0 <= self.jitter_us <= self.delay_us:
            raise ValueError(f"delay {self.delay_us} us, jitter {self.jitter_us} us: allowed are 0 to the delay")
        if self.distribution not in DISTRIBUTIONS:
            raise ValueError(f"distribution {self.distribution}: allowed are {', '.join(DISTRIBUTIONS)}")
        for name in ("loss", "loss_correlation", "duplicate", "reorder", "reorder_correlation"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name)}: allowed are 0 to 1")

    def to_plain(self) -> dict[str, object]:
        """As JSON holds it."""
        return asdict(self)


@cache
def _pareto_quantiles(count: int = 4096) -> tuple[float, ...]:
    """Quantiles of the Pareto distribution of tc's table (shape 3, cut at 4 deviations), mean 0 and deviation 1."""
    raw = [(((index + 0.5) / count) ** (-1 / 3) - 1.5) / math.sqrt(0.75) for index in range(count)]
    cut = [min(value, 4.0) for value in raw]
    mean = math.fsum(cut) / count
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in cut) / count)
    return tuple((value - mean) / deviation for value in cut)


def _draws(source: random.Random) -> dict[str, Callable[[], float]]:
    """For each distribution a function that draws from it, with mean 0 and standard deviation 1."""
    pareto = _pareto_quantiles()

    def paretonormal() -> float:
        return (0.25 * source.gauss(0, 1) + 0.75 * source.choice(pareto)) / math.hypot(0.25, 0.75)

    return {
        "normal": lambda: source.gauss(0, 1),
        "uniform": lambda: source.uniform(-math.sqrt(3), math.sqrt(3)),
        "pareto": lambda: source.choice(pareto),
        "paretonormal": paretonormal,
    }


class Chance:
    """An event of probability `share` whose occurrences are correlated: a Markov chain of two states."""

    def __init__(self, share: float, correlation: float, source: random.Random) -> None:
        self._share, self._correlation, self._source = share, correlation, source
        self._happened = False

    def happens(self) -> bool:
        """Draw once; the share is `share` over many draws, whatever the correlation."""
        if not self._share:
            return False
        # P(1|1) = p + r(1-p) and P(1|0) = p(1-r): stationary at p, with correlation r from one draw to the next.
        probability = self._share * (1 - self._correlation) + self._correlation * self._happened
        self._happened = self._source.random() < probability
        return self._happened


class Channel:
    """One direction of the wire: when each packet leaves it. Times are seconds of one clock, given by the caller."""

    def __init__(self, setting: WireSetting, source: random.Random) -> None:
        self._source = source
        self._last_tcp_s = -math.inf
        self.change(setting)

    def change(self, setting: WireSetting) -> None:
        """Take a new setting for the packets to come; those held keep their time."""
        self.setting = setting
        self._delay_s, self._jitter_s = setting.delay_us / 1e6, setting.jitter_us / 1e6
        self._draw = _draws(self._source)[setting.distribution]
        self._loss = Chance(setting.loss, setting.loss_correlation, self._source)
        self._reorder = Chance(setting.reorder, setting.reorder_correlation, self._source)

    def times(self, frame: bytes, now_s: float) -> tuple[float, ...]:
        """When a frame that arrives now leaves: once, never (lost) or twice (repeated).

        Frames of TCP never overtake each other by jitter, since the routers of a real path keep a connection in
        order; other frames do, as they would in netem.
        """
        if self._loss.happens():
            return ()
        if self.setting.duplicate and self._source.random() < self.setting.duplicate:
            return self._time(frame, now_s), self._time(frame, now_s)
        return (self._time(frame, now_s),)

    def _time(self, frame: bytes, now_s: float) -> float:
        if self._reorder.happens():
            return now_s
        time_s = now_s + self._delay_s
        if self._jitter_s:
            time_s = max(now_s, time_s + self._jitter_s * self._draw())
        if frame[12:14] == _IPV4 and frame[_PROTOCOL_AT : _PROTOCOL_AT + 1] == bytes((_TCP,)):
            time_s = self._last_tcp_s = max(time_s, self._last_tcp_s)
        return time_s


class Wire:
    """Moves frames between two taps; one thread, which also answers the control socket."""

    def __init__(self, taps: tuple[int, int], control: socket.socket, *, realtime: bool) -> None:
        source = random.Random()  # noqa: S311 - jitter, not a secret
        self._channels = {tap: Channel(WireSetting(), source) for tap in taps}
        self._other = {taps[0]: taps[1], taps[1]: taps[0]}
        self._control, self._realtime = control, realtime
        self._clients: list[socket.socket] = []
        self._held: list[tuple[float, int, int, bytes]] = []
        self._count = self._overflow = 0
        self._lead_s = 0.0

    def run(self) -> NoReturn:
        """Serve until the process is ended; raises OSError when a tap has gone."""
        while True:
            timeout_s = max(0.0, self._held[0][0] - self._lead_s - time.monotonic()) if self._held else None
            waiting: list[int | socket.socket] = [*self._channels, self._control, *self._clients]
            ready, _, _ = select.select(waiting, (), (), timeout_s)
            for item in ready:
                if isinstance(item, int):
                    # A frame has waited for this process to wake as long as a timer does.
                    self._receive(item, waited_s=0.0 if timeout_s == 0 else self._lead_s)
                elif item is self._control:
                    self._clients.append(item.accept()[0])
                else:
                    self._serve(item)
            self._send(slept=bool(timeout_s) and not ready)

    def _receive(self, tap: int, waited_s: float) -> None:
        channel, other = self._channels[tap], self._other[tap]
        for _ in range(_READS_AT_ONCE):
            try:
                frame = os.read(tap, _FRAME_BYTES)
            except BlockingIOError:
                return
            for time_s in channel.times(frame, time.monotonic() - waited_s):
                if len(self._held) >= 2 * MAX_HELD_PACKETS:
                    self._overflow += 1
                    continue
                # The count keeps frames of the same moment in order.
                self._count += 1
                heapq.heappush(self._held, (time_s, self._count, other, frame))

    def _send(self, *, slept: bool) -> None:
        now_s = time.monotonic()
        if slept and self._held:
            # A timer wakes a process late, by a time of the machine's own: aim earlier by as much, on average.
            late_s = min(now_s - self._held[0][0], _MAX_LEAD_S)
            self._lead_s = min(max(0.0, self._lead_s + _LEAD_WEIGHT * late_s), _MAX_LEAD_S)
        while self._held and self._held[0][0] - self._lead_s <= now_s:
            _, _, tap, frame = heapq.heappop(self._held)
            # An interface that is down takes nothing, as a cable that is not plugged in.
            with suppress(OSError):
                os.write(tap, frame)

    def _serve(self, client: socket.socket) -> None:
        message = b""
        with suppress(OSError):
            message = client.recv(_MAX_MESSAGE_BYTES)
        if not message:
            self._clients.remove(client)
            client.close()
            return
        with suppress(OSError):
            client.send(json.dumps(self._answer(message)).encode())

    def _answer(self, message: bytes) -> dict[str, object]:
        """Change what the message names, and say what is set; or say why nothing was changed."""
        ways = dict(zip(("forward", "backward"), self._channels.values(), strict=True))
        try:
            wanted = {name: WireSetting(**plain) for name, plain in json.loads(message).items()}
            changes = [(ways[name], setting) for name, setting in wanted.items()]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            return {"error": f"{type(error).__name__}: {error}"}
        for channel, setting in changes:
            channel.change(setting)
        held = {name: channel.setting.to_plain() for name, channel in ways.items()}
        return {**held, "realtime": self._realtime, "overflow_packets": self._overflow}


def open_tap(libc: ctypes.CDLL, namespace: str, interface: str) -> int:
    """Make a tap in a network namespace; it goes when its file descriptor does."""
    enter_network(libc, namespace)
    tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.ioctl(tap, TUNSETIFF, struct.pack("16sH22x", interface.encode(), IFF_TAP | IFF_NO_PI))
    return tap


def enter_network(libc: ctypes.CDLL, namespace: str) -> None:
    """Call setns(2), which Python has from 3.12 only."""
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(descriptor, CLONE_NEWNET) != 0:
            number = ctypes.get_errno()
            raise OSError(number, f"setns: {os.strerror(number)}", namespace)
    finally:
        os.close(descriptor)


def be_prompt(libc: ctypes.CDLL) -> bool:
    """Ask for exact timers and to run before ordinary processes; False where real time is not allowed."""
    libc.prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)
    # Nothing here makes cycles, and a collection would hold packets up.
    gc.disable()
    try:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    except PermissionError:
        return False
    return True


def main() -> None:
    """Read the one argument (JSON), make taps and control socket, report on ``ready_fd`` and be the wire."""
    wanted = json.loads(sys.argv[1])
    report = int(wanted["ready_fd"])
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        # The taps serve from anywhere; inside a host's network the wire would be one of its processes.
        home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        taps = (open_tap(libc, *wanted["forward_from"]), open_tap(libc, *wanted["backward_from"]))
        enter_network(libc, f"/proc/self/fd/{home}")
        os.close(home)
        os.umask(0o177)
        control = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        control.bind(wanted["control"])
        control.listen(16)
    except (OSError, KeyError) as error:
        os.write(report, f"failed {error}\n".encode())
        sys.exit(1)
    libc.prctl(PR_SET_NAME, b"slicebed-wire", 0, 0, 0)
    realtime = be_prompt(libc)
    os.write(report, b"ready\n")
    os.close(report)
    Wire(taps, control, realtime=realtime).run()


if __name__ == "__main__":
    main()
