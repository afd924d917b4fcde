"""A network namespace for one test: the test process itself moves in, so that netlink code and tc see the same."""

from __future__ import annotations

import ctypes
import os
import re
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

_CLONE_NEWNET = 0x40000000
NEAR, FAR = "near", "far"
ADDRESSES = {4: ("10.77.0.1", "10.77.0.2", 16), 6: ("fd77::1", "fd77::2", 64)}


def run(*command, text=""):
    """Run a command in the namespace where the test is; its output, or an error with what it said."""
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


class Far:
    """The other end of the pair; call it with a command to run there."""

    def __init__(self, namespace):
        self.enter = ("nsenter", f"--net={namespace}")

    def __call__(self, *command):
        return run(*self.enter, *command)


@contextmanager
def own_namespace():
    """Move into a namespace of one's own, with a pair of interfaces whose far end is in another one."""
    library = ctypes.CDLL(None, use_errno=True)
    with Path("/proc/thread-self/ns/net").open("rb") as home:
        assert library.unshare(_CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())
        try:
            with subprocess.Popen(
                ["unshare", "--net", "sh", "-c", "echo; exec sleep 900"], stdout=subprocess.PIPE
            ) as far:
                try:
                    far.stdout.read(1)
                    _connect(far.pid)
                    yield Far(f"/proc/{far.pid}/ns/net")
                finally:
                    far.kill()
        finally:
            assert library.setns(home.fileno(), _CLONE_NEWNET) == 0, os.strerror(ctypes.get_errno())


def _connect(far_pid):
    made = ["link set lo up", f"link add {NEAR} type veth peer name {FAR}", f"link set {FAR} netns {far_pid}"]
    run("ip", "-batch", "-", text="\n".join(made + _addressed(NEAR, 0)))
    run("nsenter", f"--net=/proc/{far_pid}/ns/net", "ip", "-batch", "-", text="\n".join(_addressed(FAR, 1)))


def _addressed(device, end):
    lines = [f"link set {device} addrgenmode none up"]
    return lines + [f"address add {ends[end]}/{ends[2]} dev {device} nodad" for ends in ADDRESSES.values()]


def told():
    """Everything that tc tells of every device here, as text to compare, without htb's one counter of packets."""
    lines = ["qdisc show"]
    for _, device in socket.if_nameindex():
        lines += [f"class show dev {device}", f"filter show dev {device}", f"filter show dev {device} ingress"]
    return re.sub(r'"direct_packets_stat":\d+', "", run("tc", "-j", "-batch", "-", text="\n".join(lines)))
