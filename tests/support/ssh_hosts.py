"""Hosts as network namespaces that run a real SSH server and a real agent, reached from this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path

from slicebed.testbed.inventory import InventoryHost
from slicebed_agent.rpc.channel import SERVING

_CONTROL = "127.0.0.1:7070"


class SshHost:
    """One host; its agent's state is in a folder of this machine."""

    def __init__(self, name, number, folder):
        self.name, self.folder = name, folder
        self.state = folder / "state"
        self.namespace = f"sbm-{os.getpid()}-{name}"
        self._device = f"sbm{os.getpid() % 100_000}.{number}"
        # Of the addresses kept for benchmarks (RFC 2544), apart from the lab's.
        self._near, self.address = f"198.19.{number}.1", f"198.19.{number}.2"

    def raise_up(self, stack, limit_bytes):
        """Everything but the agent's health, which takes a while."""
        self.folder.mkdir()
        _run("ip", "netns", "add", self.namespace)
        stack.callback(_run, "ip", "netns", "del", self.namespace)
        _run("ip", "link", "add", self._device, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        _run("ip", "address", "add", f"{self._near}/30", "dev", self._device)
        _run("ip", "link", "set", self._device, "up")
        self._inside("ip", "address", "add", f"{self.address}/30", "dev", "eth0")
        self._inside("ip", "link", "set", "lo", "up")
        self._inside("ip", "link", "set", "eth0", "up")
        stack.callback(_end, self._start_ssh())
        serve = ["serve", "--host", self.name, "--control", _CONTROL, "--data", "127.0.0.1:7071", "--plaintext"]
        keep = ["--state-dir", str(self.state), "--model-bytes", str(limit_bytes)]
        stack.callback(_end, self._start("agent", [sys.executable, "-m", "slicebed_agent", *serve, *keep]))

    def wait_healthy(self):
        ask = [sys.executable, "-m", "slicebed_agent", "health", "--control", _CONTROL]
        deadline = time.monotonic() + 60
        while SERVING not in self._inside(*ask, check=False).split():
            assert time.monotonic() < deadline, (self.folder / "agent.log").read_text()
            time.sleep(0.2)

    def inventory_host(self):
        """How Slicebed reaches it."""
        key, known = self.folder / "key", self.folder / "known_hosts"
        return InventoryHost(self.name, self.address, 22, "root", key, known, (), "podman")

    def _start_ssh(self):
        for name in ("key", "host_key"):
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.folder / name))
        (self.folder / "known_hosts").write_text(f"{self.address} {(self.folder / 'host_key.pub').read_text()}")
        Path("/run/sshd").mkdir(exist_ok=True)
        options = [
            f"HostKey={self.folder / 'host_key'}",
            f"AuthorizedKeysFile={self.folder / 'key.pub'}",
            "StrictModes=no",
            "PidFile=none",
            f"ListenAddress={self.address}",
        ]
        words = [word for option in options for word in ("-o", option)]
        return self._start("sshd", ["/usr/sbin/sshd", "-D", "-e", "-f", "/dev/null", *words])

    def _start(self, name, command):
        with (self.folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen(
                ["nsenter", f"--net=/run/netns/{self.namespace}", *command], stdout=log, stderr=subprocess.STDOUT
            )

    def _inside(self, *command, check=True):
        return _run("nsenter", f"--net=/run/netns/{self.namespace}", *command, check=check)


@contextmanager
def ssh_hosts(names, folder, limit_bytes):
    """Raise the hosts and wait until their agents are healthy."""
    with ExitStack() as stack:
        hosts = {name: SshHost(name, number, folder / name) for number, name in enumerate(names)}
        for host in hosts.values():
            host.raise_up(stack, limit_bytes)
        for host in hosts.values():
            host.wait_healthy()
        yield hosts


def _run(*command, check=True):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
    return done.stdout


def _end(process):
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
