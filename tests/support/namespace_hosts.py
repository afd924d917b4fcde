"""Hosts as network namespaces, each with the host tools' own service on pipes: the held channel without SSH."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager

from slicebed.errors import ProvisionError

# What is saved is a host's own; and no test must meet what another left.
_OWN_FOLDERS = "mount -t tmpfs t /var/lib && mount -t tmpfs t /run && mkdir /var/lib/slicebed"


class NamespaceHost:
    """One host; `call` is the held channel's."""

    def __init__(self, name, ssh_connection=""):
        self.name = name
        self.namespace = f"sbk-{os.getpid()}-{name}"
        self._ssh_connection = ssh_connection
        self._numbers = itertools.count(1)
        self._waiting = {}
        self._lock = threading.Lock()

    def start(self):
        serve = f"{_OWN_FOLDERS} && exec {sys.executable} -m slicebed_agent.host serve"
        self.process = subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{self.namespace}", "unshare", "--mount", "sh", "-c", serve],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "SSH_CONNECTION": self._ssh_connection},
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def stop(self):
        self.process.stdin.close()
        self._reader.join()
        self.process.stdout.close()
        self.process.wait()

    def call(self, verb, request, timeout_s):
        answer = Future()
        with self._lock:
            number = next(self._numbers)
            self._waiting[number] = answer
            self.process.stdin.write(json.dumps({"id": number, "verb": verb, "request": request}).encode() + b"\n")
            self.process.stdin.flush()
        message = answer.result(timeout_s)
        if "error" in message:
            raise ProvisionError(
                message["error"]["what"], where=message["error"]["where"], mend=message["error"]["mend"]
            )
        return message["result"]

    def run(self, *command):
        done = subprocess.run(
            ["ip", "netns", "exec", self.namespace, *command], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}: {done.stdout}{done.stderr}"
        return done.stdout

    def traffic_control(self):
        """Everything of tc that a restore must put back."""
        devices = [row["ifname"] for row in json.loads(self.run("ip", "-json", "link"))]
        return [
            self.run("tc", "-json", what, "show", "dev", device)
            for what in ("qdisc", "class", "filter")
            for device in devices
        ]

    def _read(self):
        for line in self.process.stdout:
            message = json.loads(line)
            self._waiting.pop(message["id"]).set_result(message)


@contextmanager
def namespace_hosts(ends, ssh_connections=None):
    """Hosts joined by veth pairs.

    Args:
        ends: for each link ((host, interface, address), (host, interface, address)), addresses with their prefix.
        ssh_connections: by host, the SSH connection that its service is told it came through.
    """
    names = dict.fromkeys(end[0] for link in ends for end in link)
    hosts = {name: NamespaceHost(name, (ssh_connections or {}).get(name, "")) for name in names}
    with ExitStack() as stack:
        for host in hosts.values():
            subprocess.run(["ip", "netns", "add", host.namespace], check=True)
            stack.callback(subprocess.run, ["ip", "netns", "del", host.namespace], check=True)
            host.run("ip", "link", "set", "lo", "up")
        for (a, device_a, address_a), (b, device_b, address_b) in ends:
            pair = f"link add {device_a} netns {hosts[a].namespace} type veth peer name {device_b} netns"
            subprocess.run(["ip", *pair.split(), hosts[b].namespace], check=True)
            for name, device, address in ((a, device_a, address_a), (b, device_b, address_b)):
                hosts[name].run("ip", "addr", "add", address, "dev", device)
                hosts[name].run("ip", "link", "set", device, "up")
        for host in hosts.values():
            host.start()
            stack.callback(host.stop)
        yield hosts
