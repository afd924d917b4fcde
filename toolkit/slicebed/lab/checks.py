"""What must be true before the lab makes anything; each thing that is not is one line."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING

from slicebed.errors import ConflictError, MissingRequirementError
from slicebed.lab import paths
from slicebed.lab.layout import WireKind
from slicebed.lab.tools import find_program, succeeds

if TYPE_CHECKING:
    from collections.abc import Iterable

# Each program and the Debian package that has it.
PROGRAMS = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "mount": "mount",
    "umount": "mount",
    "catatonit": "catatonit",
    "sshd": "openssh-server",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
}
# The overlay shows the parent's root file system alone: on file systems of their own these would be empty.
ROOT_DIRECTORIES = ("/etc", "/usr", "/var", "/var/lib")
TRIALS = {
    "network namespaces and veth": ("ip", "link", "add", "slicebed0", "type", "veth", "peer", "name", "slicebed1"),
    "bridge": ("ip", "link", "add", "slicebed0", "type", "bridge"),
}
TUN_TRIAL = ("ip", "tuntap", "add", "dev", "slicebed0", "mode", "tap")
NETEM_TRIAL = ("tc", "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms")


@dataclass(frozen=True)
class UsedRange:
    """An address range this machine uses already."""

    network: IPv4Network
    interface: str
    kind: str


def require_root() -> None:
    """Raises MissingRequirementError when not root."""
    if os.geteuid() != 0:
        raise MissingRequirementError(
            "the lab needs root: it makes namespaces, mounts and interfaces", mend="run it as root, for example by sudo"
        )


def require_programs(programs: dict[str, str]) -> None:
    """Raises MissingRequirementError naming every program that is missing, and the packages to install."""
    missing = [name for name in programs if find_program(name) is None]
    if missing:
        packages = " ".join(sorted({programs[name] for name in missing}))
        raise MissingRequirementError(f"missing: {', '.join(missing)}", mend=f"run apt-get install {packages}")


def detect_wire() -> WireKind:
    """Which wire this kernel can have, by trial in a network namespace that ends with the trial."""
    return WireKind.NETEM if _in_new_network(NETEM_TRIAL) else WireKind.TAP


def require_kernel(wire: WireKind) -> None:
    """Try every kernel feature the lab needs; raises MissingRequirementError naming the first that is refused."""
    for feature, trial in TRIALS.items():
        if not _in_new_network(trial):
            raise MissingRequirementError(
                f"this kernel refuses: {feature}", mend="use a kernel or container that allows it"
            )
    if wire is WireKind.TAP and not _in_new_network(TUN_TRIAL):
        raise MissingRequirementError(
            "this kernel has neither netem nor TUN, so no wire can be made", mend="load the module sch_netem or tun"
        )
    root_device = Path("/").stat().st_dev
    apart = [name for name in ROOT_DIRECTORIES if Path(name).stat().st_dev != root_device]
    if apart:
        raise MissingRequirementError(
            f"{', '.join(apart)}: on a file system of its own, lab hosts would see it empty",
            mend="run the lab on a machine with one root file system",
        )
    if not _overlay_works():
        raise MissingRequirementError(
            f"no overlay of / can be mounted with its upper layer in {paths.STATE_ROOT}",
            mend="load the module overlay; inside a container, use a virtual machine instead",
        )


def require_free_ranges(wanted: Iterable[IPv4Network]) -> None:
    """Raises ConflictError when an address or a route of this machine overlaps a network of the lab."""
    if conflict := find_conflict(wanted, used_ranges()):
        raise conflict


def find_conflict(wanted: Iterable[IPv4Network], used: Iterable[UsedRange]) -> ConflictError | None:
    """The first overlap, as the error to raise. A default route overlaps nothing: it is where the rest goes."""
    known = list(used)
    for network in wanted:
        for item in known:
            if item.network.prefixlen > 0 and network.overlaps(item.network):
                return ConflictError(
                    f"address range {network} is in use: {item.kind} {item.network} on interface {item.interface}",
                    mend="give the testbed's lab another range",
                )
    return None


def used_ranges() -> list[UsedRange]:
    """Every IPv4 address and route of this machine, with the interface it is on."""
    # Imported here: it takes a while, and most commands of the lab do not need it.
    from pyroute2 import IPRoute  # noqa: PLC0415

    with IPRoute() as kernel:
        names = {link["index"]: link.get("ifname") for link in kernel.get_links()}
        found = [
            _used(row.get("address"), row["prefixlen"], names.get(row["index"]), "address")
            for row in kernel.get_addr(family=2)
        ]
        found += [
            _used(row.get("dst") or "0.0.0.0", row["dst_len"], names.get(row.get("oif")), "route")  # noqa: S104 - the default route
            for row in kernel.get_routes(family=2)
            if row["type"] in {1, 7, 8, 6}  # unicast, unreachable, prohibit, blackhole: include/uapi/linux/rtnetlink.h
        ]
    return found


def _used(address: str, prefix: int, interface: str | None, kind: str) -> UsedRange:
    return UsedRange(IPv4Network(f"{address}/{prefix}", strict=False), interface or "(none)", kind)


def _in_new_network(arguments: tuple[str, ...]) -> bool:
    return succeeds(["unshare", "--net", *arguments])


def _overlay_works() -> bool:
    """Mount one in a mount namespace that ends with the trial; its directory is where a sweep would find it."""
    paths.LAB_DIR.mkdir(mode=0o700, parents=True, exist_ok=True)
    base = Path(tempfile.mkdtemp(dir=paths.LAB_DIR, prefix="trial-"))
    try:
        for name in ("upper", "work", "root"):
            (base / name).mkdir()
        options = f"lowerdir=/,upperdir={base}/upper,workdir={base}/work"
        return succeeds(["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, f"{base}/root"])
    finally:
        shutil.rmtree(base)
