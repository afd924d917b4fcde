"""What this kernel can do for links, found by trial in a throwaway network namespace (never from lists of modules)."""

from __future__ import annotations

import ctypes
import json
import os
import platform
import struct
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from slicebed_agent.errors import HostError
from slicebed_agent.host.network.devices import read_devices
from slicebed_agent.host.network.encode import LINK, NEW_LINK, encode
from slicebed_agent.host.network.netlink import FLAG_CREATE_NEW, NetlinkSocket, RefusedError, Request, attribute
from slicebed_agent.host.network.steps import IngressQdisc, PeerFilter, Spot, Step, Thing, Verb
from slicebed_agent.host.network.tree import (
    ETH_P_IP,
    INGRESS_PARENT,
    INNER_CLASS,
    ROOT_HANDLE,
    AddressFilter,
    Fifo,
    HtbClass,
    HtbRoot,
    LeafQdisc,
    Netem,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Result = TypeVar("Result")
CACHE = Path("/run/slicebed/kernel-features.json")
_CLONE_NEWNET = 0x40000000
_DEVICE_KINDS = ("dummy", "ifb", "veth")
_HELD = "held"
# A place in u32's root table, and any number for flower.
_TRIAL_FILTERS = {"u32": 0x80000801, "flower": 16}


@dataclass(frozen=True)
class KernelFeatures:
    """What can be done for links here.

    Attributes:
        refusals: by feature; empty where the kernel did it, else what it said: ``ENOENT No such file or directory``.
            ``htb``, ``netem``, ``pfifo``, ``ingress``, ``u32``, ``flower``, ``mirred``, ``ifb`` and
            ``netem_duplicate_many`` (duplication beside other netem leaves on one device, which newer kernels forbid).
    """

    refusals: Mapping[str, str]

    def can(self, feature: str) -> bool:
        """True when the kernel did it."""
        return not self.refusals[feature]


def kernel_features(*, fresh: bool = False, cache: Path = CACHE) -> KernelFeatures:
    """Find out what this kernel can do; kept until the next boot or the next change of its modules.

    Args:
        fresh: try again, whatever is kept.
        cache: where it is kept.

    Raises:
        HostError: no namespace can be made (this needs root).
    """
    boot = _boot()
    if not fresh:
        with suppress(OSError, ValueError, KeyError, TypeError):
            kept = json.loads(cache.read_text(encoding="utf-8"))
            if kept["boot"] == boot:
                return KernelFeatures(kept["refusals"])
    found = KernelFeatures(in_throwaway_namespace(_try_all))
    # Only time is lost where nothing can be kept.
    with suppress(OSError):
        cache.parent.mkdir(parents=True, exist_ok=True)
        partial = cache.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        partial.write_text(json.dumps({"boot": boot, "refusals": dict(found.refusals)}), encoding="utf-8")
        partial.replace(cache)
    return found


def in_throwaway_namespace(work: Callable[[NetlinkSocket], Result]) -> Result:
    """Do something in a network namespace that ends with it; the caller stays in its own.

    Raises:
        HostError: no namespace can be made.
    """
    results: list[Result] = []
    errors: list[BaseException] = []

    def run() -> None:
        # Only this thread leaves the caller's namespace, and the new one ends with the thread.
        library = ctypes.CDLL(None, use_errno=True)
        if library.unshare(_CLONE_NEWNET):
            code = ctypes.get_errno()
            errors.append(
                HostError(f"no network namespace can be made: {os.strerror(code)}", where="kernel", mend="run as root")
            )
            return
        try:
            with NetlinkSocket() as netlink:
                results.append(work(netlink))
        except BaseException as error:  # noqa: BLE001 - it is raised again in the caller's thread
            errors.append(error)

    thread = threading.Thread(target=run, name="throwaway-namespace")
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


def add_trial_device(netlink: NetlinkSocket, name: str, mtu_bytes: int, queue_packets: int, queues: int) -> None:
    """Make some virtual device, like the one that it stands for.

    Raises:
        HostError: the kernel has none of the kinds that would do.
    """
    said = []
    for kind in _DEVICE_KINDS:
        try:
            netlink.send([_device(name, kind, mtu_bytes, queue_packets, queues)])
        except RefusedError as error:
            said.append(f"{kind}: {error.reason}")
        else:
            return
    raise HostError(
        f"no device to try things on ({', '.join(said)})", where="kernel", mend="load one of dummy, ifb or veth"
    )


def _boot() -> str:
    identity = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    release = platform.release()
    try:
        changed = Path(f"/lib/modules/{release}/modules.dep").stat().st_mtime_ns
    except FileNotFoundError:
        changed = 0
    return f"{identity} {release} {changed}"


def _device(name: str, kind: str, mtu_bytes: int, queue_packets: int, queues: int) -> Request:
    body = attribute(3, name.encode() + b"\0")
    for number, value in ((4, mtu_bytes), (13, queue_packets), (31, queues)):
        body += attribute(number, struct.pack("=I", value))
    body += attribute(18, attribute(1, kind.encode() + b"\0"))
    return Request(NEW_LINK, FLAG_CREATE_NEW, LINK.pack(0, 0, 0, 1, 1) + body)


def _try_all(netlink: NetlinkSocket) -> dict[str, str]:
    add_trial_device(netlink, _HELD, 1500, 1000, 1)
    refusals: dict[str, str] = {}

    def attempt(feature: str, *things: Thing) -> None:
        try:
            netlink.send([encode(Step(Verb.ADD, _HELD, thing), index_of) for thing in things])
        except RefusedError as error:
            refusals[feature] = error.reason
        else:
            refusals[feature] = ""

    def index_of(name: str) -> int:
        return read_devices(netlink)[name].index

    try:
        netlink.send([_device("trial-ifb", "ifb", 1500, 1000, 1)])
        refusals["ifb"] = ""
    except RefusedError as error:
        refusals["ifb"] = error.reason
    classes = [
        HtbClass(ROOT_HANDLE | minor, ROOT_HANDLE if minor == 1 else INNER_CLASS, 1000, 1000, 1000, 1000, 1514)
        for minor in (1, 16, 17, 18)
    ]
    attempt("htb", HtbRoot(), *classes)
    attempt("pfifo", LeafQdisc(0x5B2F0000, ROOT_HANDLE | 18, Fifo(10)))
    attempt("netem", LeafQdisc(0x5B2D0000, ROOT_HANDLE | 16, Netem(1000, 1000, 10)))
    attempt("netem_duplicate_many", LeafQdisc(0x5B2E0000, ROOT_HANDLE | 17, Netem(1000, 0, 10, duplicate=1 << 20)))
    address = bytes((192, 0, 2, 1))
    for kind, handle in _TRIAL_FILTERS.items():
        wanted = AddressFilter(handle, address, of_source=False, class_id=ROOT_HANDLE | 16)
        attempt(kind, PeerFilter(Spot(ROOT_HANDLE, 1, ETH_P_IP), kind, wanted))
    attempt("ingress", IngressQdisc())
    kind = "flower" if not refusals["flower"] else "u32"
    redirect = AddressFilter(_TRIAL_FILTERS[kind], address, of_source=True, class_id=0, redirect=_HELD)
    attempt("mirred", PeerFilter(Spot(INGRESS_PARENT, 1, ETH_P_IP), kind, redirect))
    return refusals
