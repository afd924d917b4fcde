"""Sends steps to the kernel, and goes back to what was there when it refuses one."""

from __future__ import annotations

import errno
import socket
import time
from dataclasses import replace
from typing import TYPE_CHECKING

from slicebed_agent.errors import HostError
from slicebed_agent.host.network import reader
from slicebed_agent.host.network.difference import difference
from slicebed_agent.host.network.encode import encode
from slicebed_agent.host.network.netlink import RefusedError
from slicebed_agent.host.network.steps import IfbDevice, IngressQdisc, PeerFilter, Step, U32Table, Verb, leaf_kind
from slicebed_agent.host.network.tree import Egress, Found, Ingress, LeafQdisc, Root, StrangeLeaf, Wanted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slicebed_agent.host.network.netlink import NetlinkSocket, Request


_PATIENCE_S = 5.0
_PAUSE_S = 0.005


class _StepRefusedError(Exception):
    def __init__(self, step: Step, refusal: RefusedError) -> None:
        super().__init__(str(step))
        self.step = step
        self.refusal = refusal


def execute(netlink: NetlinkSocket, steps: Sequence[Step], found: Mapping[str, Found]) -> None:
    """Do the steps in order, or none of them.

    Args:
        netlink: in the namespace of the devices.
        steps: what to do.
        found: what the devices held when the steps were planned; there the first refusal leads back.

    Raises:
        HostError: which step was refused, on which device, what the kernel said, what is missing.
    """
    try:
        _send(netlink, steps)
    except _StepRefusedError as refused:
        touched = {step.device for step in steps}
        raise _error(refused, _undo(netlink, touched, found)) from refused.refusal


def _send(netlink: NetlinkSocket, steps: Sequence[Step]) -> None:
    for part in _parts(steps):
        indexes: dict[str, int] = {}

        def index_of(name: str, known: dict[str, int] = indexes) -> int:
            if name not in known:
                known[name] = socket.if_nametoindex(name)
            return known[name]

        try:
            requests = [encode(step, index_of) for step in part]
        except OSError as error:
            gone = next((step for step in part if not _exists(step.device)), part[0])
            raise _StepRefusedError(gone, RefusedError(0, error.errno or errno.ENODEV, "")) from error
        try:
            _send_patiently(netlink, requests, part[0])
        except RefusedError as error:
            raise _StepRefusedError(part[error.index], error) from error


def _send_patiently(netlink: NetlinkSocket, requests: list[Request], first: Step) -> None:
    # The kernel lets go of a hash table some time after the link to it went (it waits for its processors).
    deadline = time.monotonic() + _PATIENCE_S
    while True:
        try:
            netlink.send(requests)
        except RefusedError as error:
            is_table = isinstance(first.thing, U32Table) and first.verb is Verb.DELETE
            if not is_table or error.code != errno.EBUSY or time.monotonic() > deadline:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _parts(steps: Sequence[Step]) -> Iterator[Sequence[Step]]:
    """Cut around the making of devices, whose indexes later steps need, and around tables that may be busy."""
    first = 0
    for index, step in enumerate(steps, start=1):
        if index == len(steps) or _stands_alone(step) or _stands_alone(steps[index]):
            yield steps[first:index]
            first = index


def _stands_alone(step: Step) -> bool:
    return isinstance(step.thing, IfbDevice) or (isinstance(step.thing, U32Table) and step.verb is Verb.DELETE)


def _exists(device: str) -> bool:
    return any(name == device for _, name in socket.if_nameindex())


def _undo(netlink: NetlinkSocket, touched: set[str], found: Mapping[str, Found]) -> str:
    """Go back to what was found; says how that went."""
    now = reader.read_all(netlink, touched)
    before: dict[str, Wanted | None] = {
        name: Wanted(_without_strangers(found[name]), _ingress(found[name])) if name in found else None
        for name in touched
        if name in now or name in found
    }
    try:
        _send(netlink, difference(now, before))
    except _StepRefusedError as refused:
        return f"and going back was refused as well at '{refused.step}': {refused.refusal.reason}; restore this host"
    return "what this apply had done before was undone"


def _ingress(found: Found) -> Ingress | None:
    return found.ingress if isinstance(found.ingress, Ingress) else None


def _without_strangers(found: Found) -> Root:
    root = found.root
    if not isinstance(root, Egress):
        return root
    # What somebody had edited into our own tree is not known well enough to be put back.
    leaves = {parent: leaf for parent, leaf in root.leaves.items() if not isinstance(leaf.leaf, StrangeLeaf)}
    groups = {prio: group for prio, group in root.groups.items() if not group.strange}
    return replace(root, leaves=leaves, groups=groups)


def _error(refused: _StepRefusedError, undone: str) -> HostError:
    step, refusal = refused.step, refused.refusal
    mend = undone
    module = _module(step)
    if refusal.code == errno.ENOENT and step.verb is Verb.ADD and module:
        mend = f"this kernel has no {module}: load or build it (modprobe {module}); {undone}"
    elif refusal.code == errno.EPERM:
        mend = f"run as root; {undone}"
    return HostError(f"refused to {step}: {refusal.reason}", where=step.device, mend=mend)


def _module(step: Step) -> str | None:
    match step.thing:
        case LeafQdisc(leaf=leaf):
            kind = leaf_kind(leaf)
            return "sch_fifo" if kind == "pfifo" else f"sch_{kind}"
        case PeerFilter(kind=kind, filter=wanted):
            return f"cls_{kind}" if wanted.redirect is None else f"cls_{kind} or act_mirred"
        case IngressQdisc():
            return "sch_ingress"
        case _:
            return None
