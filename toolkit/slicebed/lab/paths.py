"""Where the lab keeps what it makes. One lab per machine, so these are constants."""

from __future__ import annotations

from pathlib import Path

STATE_ROOT = Path("/var/lib/slicebed")
LAB_DIR = STATE_ROOT / "lab"
LOCK_FILE = STATE_ROOT / "lab.lock"
STATE_FILE = LAB_DIR / "state.json"
HOSTS_DIR = LAB_DIR / "hosts"
WIRES_DIR = LAB_DIR / "wires"
SSH_DIR = LAB_DIR / "ssh"
IDENTITY_FILE = SSH_DIR / "id_ed25519"
KNOWN_HOSTS_FILE = SSH_DIR / "known_hosts"

NETNS_DIR = Path("/run/netns")
# The parent's images, seen read-only by every host: an image built once is on all of them at once.
PARENT_IMAGE_STORE = Path("/var/lib/containers/storage")
HOST_IMAGE_STORE = Path("/var/lib/slicebed-images")

INVENTORY_FILE = Path("inventory/lab/hosts.yml")


def host_dir(host: str) -> Path:
    """The directory on the parent that holds everything one host writes."""
    return HOSTS_DIR / host


def wire_dir(index: int) -> Path:
    """The directory of one wire's sockets; numbered, since a unix socket's path may not exceed 107 bytes."""
    return WIRES_DIR / str(index)
