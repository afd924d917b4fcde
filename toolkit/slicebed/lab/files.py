"""The files that make a namespace host its own machine, each written into its layer over the parent's root."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from slicebed.lab import paths
from slicebed.lab.tools import MARKER, PATH

if TYPE_CHECKING:
    from slicebed.lab.layout import HostPlan, LabPlan

CONTAINERS_CONF = """\
# Written by `slicebed lab up`.
[containers]
# Where resource limits may not be raised, podman's own defaults are refused.
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
log_driver = "k8s-file"
[engine]
# crun refuses hybrid cgroups; there is neither systemd nor its journal in a lab host.
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
"""

# Seeing images in the additional store, podman 4.3 takes the host for an old one and chooses CNI.
NETAVARK_CONF = """\
[network]
network_backend = "netavark"
"""
NETAVARK_PROGRAMS = (Path("/usr/lib/podman/netavark"), Path("/usr/libexec/podman/netavark"))

STORAGE_CONF = f"""\
# Written by `slicebed lab up`.
[storage]
driver = "overlay"
graphroot = "/var/lib/containers/storage"
runroot = "/run/containers/storage"
[storage.options]
# The parent's images, read-only: built once, on every lab host at once.
additionalimagestores = ["{paths.HOST_IMAGE_STORE}"]
"""

BASHRC = """\
# Written by `slicebed lab up`: nothing here, so that a command over SSH starts at once.
"""


def containers_conf() -> str:
    """The container engine's settings; naming a network backend that is not installed would stop podman."""
    return CONTAINERS_CONF + (NETAVARK_CONF if any(path.exists() for path in NETAVARK_PROGRAMS) else "")


def hosts_file(plan: LabPlan) -> str:
    """/etc/hosts: every host by its management address, every link end as ``HOST-to-PEER``."""
    lines = ["127.0.0.1 localhost", f"{plan.bridge_address.ip} parent"]
    lines += [f"{host.management.ip} {host.name}" for host in plan.hosts]
    lines += [f"{end.address.ip} {end.host}-to-{end.peer}" for link in plan.links for end in link.ends]
    return "".join(f"{line}\n" for line in lines)


def sshd_config(host: HostPlan, lab_id: str) -> str:
    """A daemon of the host's own: keys only, and on the management network only, which is never shaped."""
    return f"""\
# Written by `slicebed lab up`.
ListenAddress {host.management.ip}
HostKey /etc/ssh/ssh_host_ed25519_key
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
MaxStartups 100
MaxSessions 100
Subsystem sftp internal-sftp
SetEnv LANG=C.UTF-8 {MARKER}={lab_id} PATH={PATH}
"""


def shadow_file(parent: str) -> str:
    """The parent's accounts without any password; ``*`` (unlike ``!``) still lets root in by key."""
    rows = [line.split(":") for line in parent.splitlines() if ":" in line]
    return "".join(":".join([row[0], "*", *row[2:]]) + "\n" for row in rows)
