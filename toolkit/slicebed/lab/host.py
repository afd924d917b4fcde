"""Prepare and start the namespace hosts: files first, then one process tree each, then their sshd."""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed.errors import ProvisionError
from slicebed.lab import files, paths
from slicebed.lab.tools import environment, find_program, last_line, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.lab.layout import HostPlan, LabPlan

START_TIMEOUT_S = 20.0
SSH_PORT = 22
# Directories of the parent whose content no lab host may see: overlayfs hides what is below an opaque directory
# (Documentation/filesystems/overlayfs.rst, "whiteouts and opaque directories").
OPAQUE = {"root": 0o700, "etc/ssh": 0o755, "var/lib/slicebed": 0o755}


@dataclass(frozen=True)
class StartingHost:
    """A host whose process tree was started; its first process reports on ``report``, a pipe that the caller closes."""

    plan: HostPlan
    report: int


def make_keys(plan: LabPlan, lab_id: str) -> None:
    """The key that opens every host, and the hosts' own keys, already known to whoever uses our known_hosts file."""
    paths.SSH_DIR.mkdir(mode=0o700)
    _make_key(paths.IDENTITY_FILE, f"slicebed-lab-{plan.name}", lab_id)
    known = []
    for host in plan.hosts:
        key = paths.SSH_DIR / f"host_{host.name}"
        _make_key(key, host.name, lab_id)
        kind, value, _ = key.with_suffix(".pub").read_text().split(" ", 2)
        known.append(f"{host.management.ip},{host.name} {kind} {value}\n")
    paths.KNOWN_HOSTS_FILE.write_text("".join(known))
    paths.KNOWN_HOSTS_FILE.chmod(0o600)


def prepare_host(plan: LabPlan, host: HostPlan, lab_id: str) -> None:
    """Write the host's own layer over the parent's root file system."""
    base = paths.host_dir(host.name)
    upper = base / "upper"
    for directory in (upper, base / "work", base / "root", base / "containers"):
        directory.mkdir(parents=True)
    for name, mode in OPAQUE.items():
        directory = upper / name
        directory.mkdir(parents=True)
        directory.chmod(mode)
        os.setxattr(directory, "trusted.overlay.opaque", b"y")
    public = paths.IDENTITY_FILE.with_suffix(".pub").read_text()
    key = paths.SSH_DIR / f"host_{host.name}"
    _write(upper / "etc/hostname", f"{host.name}\n")
    _write(upper / "etc/hosts", files.hosts_file(plan))
    _write(upper / "etc/machine-id", f"{uuid.uuid4().hex}\n", mode=0o444)
    _write(upper / "etc/resolv.conf", _read_if_there(Path("/etc/resolv.conf")))
    _write(upper / "etc/shadow", files.shadow_file(Path("/etc/shadow").read_text()), mode=0o600)
    _write(upper / "etc/ssh/sshd_config", files.sshd_config(host, lab_id))
    _write(upper / "etc/ssh/ssh_host_ed25519_key", key.read_text(), mode=0o600)
    _write(upper / "etc/ssh/ssh_host_ed25519_key.pub", key.with_suffix(".pub").read_text())
    _write(upper / "etc/containers/containers.conf", files.containers_conf())
    _write(upper / "etc/containers/storage.conf", files.STORAGE_CONF)
    _write(upper / "root/.bashrc", files.BASHRC)
    _write(upper / "root/.profile", files.BASHRC)
    (upper / "root/.ssh").mkdir(mode=0o700)
    _write(upper / "root/.ssh/authorized_keys", public, mode=0o600)
    # The overlay shows the upper directory's own mode and times as those of "/".
    shutil.copystat("/", upper)


def start_host(host: HostPlan, lab_id: str) -> StartingHost:
    """Start the host's process tree; returns at once.

    ``setsid --fork`` hands the tree to the machine's init, so that it outlives this command and is nobody's zombie.
    ``nsenter --net`` and not ``ip netns exec``: the latter remounts /sys and hides the cgroup controllers.
    """
    base = paths.host_dir(host.name)
    report, report_child = os.pipe()
    wanted = {
        "hostname": host.name,
        "base": str(base),
        "parent_images": str(paths.PARENT_IMAGE_STORE),
        "host_images": str(paths.HOST_IMAGE_STORE),
        "ready_fd": report_child,
        "command": [find_program("catatonit"), "--", find_program("sshd"), "-D", "-e"],
    }
    arguments = [
        *("setsid", "--fork", "nsenter", f"--net={paths.NETNS_DIR / host.namespace}"),
        *("unshare", "--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"),
        *(sys.executable, "-I", "-S", str(Path(__file__).with_name("_init.py")), json.dumps(wanted)),
    ]
    try:
        with (base / "console.log").open("wb") as console:
            subprocess.run(
                arguments,
                env={**environment(lab_id), "HOME": "/root"},
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                pass_fds=[report_child],
                check=True,
            )
    except BaseException:
        os.close(report)
        raise
    finally:
        os.close(report_child)
    return StartingHost(host, report)


def wait_for_hosts(starting: Sequence[StartingHost]) -> None:
    """Return when every host's sshd answers.

    Raises:
        ProvisionError: a host could not be built, or did not answer in time; what it said last is quoted.
    """
    deadline = time.monotonic() + START_TIMEOUT_S
    for host in starting:
        _wait_for_init(host, deadline)
    for host in starting:
        while not answers_ssh(host.plan):
            if time.monotonic() > deadline:
                raise ProvisionError(f"sshd does not answer: {_console(host.plan)}", where=f"host {host.plan.name}")
            time.sleep(0.02)


def answers_ssh(host: HostPlan, timeout_s: float = 1.0) -> bool:
    """Whether an SSH server greets on the host's management address."""
    try:
        with socket.create_connection((str(host.management.ip), SSH_PORT), timeout=timeout_s) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def _wait_for_init(host: StartingHost, deadline: float) -> None:
    readable, _, _ = select.select([host.report], [], [], max(0.0, deadline - time.monotonic()))
    text = os.read(host.report, 4096).decode() if readable else "no report in time"
    if text != "ready\n":
        said = text.removeprefix("failed ").strip() or _console(host.plan)
        raise ProvisionError(f"the host could not be started: {said}", where=f"host {host.plan.name}")


def _console(host: HostPlan) -> str:
    return last_line(_read_if_there(paths.host_dir(host.name) / "console.log"))


def _make_key(path: Path, comment: str, lab_id: str) -> None:
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(path)], lab_id)


def _write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(text)
    path.chmod(mode)


def _read_if_there(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
