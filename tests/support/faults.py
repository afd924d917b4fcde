"""What can go wrong on a testbed, done on the embedded lab: each fault ends with its block, whatever the test does."""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager, suppress

from slicebed_command import on

from slicebed.lab import paths
from slicebed.lab.state import read_state

AGENT = "slicebed-agent"
STATE_DIRECTORY = "/var/lib/slicebed/agent"
_FILLER = f"{STATE_DIRECTORY}/filler"


@contextmanager
def link_cut(a, b):
    """Packets between two hosts vanish on arrival, both ways; the interfaces keep their carrier and queues.

    A drop at the sender would be told to its TCP. Both kinds of wire have it: the kernel's classic BPF needs no module.
    """
    plan = read_state().plan
    ends = [(paths.NETNS_DIR / plan.host(end.host).namespace, end.interface) for end in plan.link(a, b).ends]
    done = []
    try:
        for namespace, interface in ends:
            _tc(namespace, f"qdisc add dev {interface} clsact")
            done.append((namespace, interface))
            # 2 is TC_ACT_SHOT.
            _tc(namespace, f'filter add dev {interface} ingress protocol all pref 1 bpf da bytecode "1,6 0 0 2"')
        yield
    finally:
        for namespace, interface in done:
            _tc(namespace, f"qdisc del dev {interface} clsact")


def cut_link(a, b, seconds):
    """Cut a link, wait, and mend it."""
    with link_cut(a, b):
        time.sleep(seconds)


def _tc(namespace, command):
    done = subprocess.run(
        ["nsenter", f"--net={namespace}", "tc", "-batch", "-"],
        input=command,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"tc {command}: {done.stderr}"


def kill_agent(host, *, name=AGENT):
    """End the agent's process without a word, as a crash or the kernel's memory killer does."""
    on(host, "podman", "kill", "--signal", "KILL", name)
    on(host, "podman", "wait", name)


def start_agent(host, *, name=AGENT):
    """Start the container again, as an engine's restart policy or an operator does."""
    on(host, "podman", "start", name)


@contextmanager
def small_disk(host, mebibytes, *, folder=STATE_DIRECTORY):
    """Give a host's agent a disk of its own of that size; enter before `slicebed deploy`, which then finds it."""
    on(host, "mkdir", "-p", folder)
    on(host, "mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=750", "small-disk", folder)
    try:
        yield
    finally:
        take_small_disk(host, folder=folder)


def take_small_disk(host, *, folder=STATE_DIRECTORY):
    """Take the disk away, if it is still there; a container that runs has it open until it ends."""
    on(host, "sh", "-c", f"! mountpoint -q {folder} || umount --lazy {folder}")


@contextmanager
def full_disk(host, *, filler=_FILLER):
    """Fill the disk that the agent writes to, to the last block; only inside `small_disk`."""
    folder = filler.rpartition("/")[0]
    assert on(host, "stat", "-f", "-c", "%T", folder).strip() == "tmpfs", f"{folder} of {host} is no disk of its own"
    try:
        # What is left over from whole blocks is smaller than one.
        on(host, "sh", "-c", f"dd if=/dev/zero of={filler} bs=4096 2>/dev/null; test -s {filler}")
        yield
    finally:
        on(host, "rm", "-f", filler)


@contextmanager
def clock_stepped(seconds):
    """Step the machine's clock, and back by what it was stepped; every lab host has this one clock."""
    time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) + seconds)
    try:
        yield
    finally:
        time.clock_settime(time.CLOCK_REALTIME, time.clock_gettime(time.CLOCK_REALTIME) - seconds)


def carrier(host, interface):
    """Whether an interface of a host has a carrier; None when it is down."""
    with suppress(subprocess.CalledProcessError):
        return on(host, "cat", f"/sys/class/net/{interface}/carrier").strip() == "1"
    return None
