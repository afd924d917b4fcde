"""From the links wanted of this host to what each of its devices shall hold: pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slicebed_agent.host.network.compile import Facts, compile_egress, compile_ingress
from slicebed_agent.host.network.demand import refuse_foreign_ingress
from slicebed_agent.host.network.tree import Egress, Ingress, Wanted, is_our_ifb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed_agent.host.network.demand import Demand
    from slicebed_agent.host.network.kernel import KernelFeatures
    from slicebed_agent.host.network.tree import Found


def arrange(
    wanted_links: Mapping[str, Demand],
    cap_bit_per_s: int | None,
    features: KernelFeatures,
    found: Mapping[str, Found],
) -> dict[str, Wanted | None]:
    """Give what every device shall hold; None for an ifb device of ours that shall go.

    Args:
        wanted_links: by the device that holds the packets back.
        cap_bit_per_s: shared by the links of each device; None is no cap.
        features: of this kernel.
        found: the devices concerned, and every other one that holds something of ours.

    Raises:
        HostError: somebody else's ingress is in the way, or the kernel cannot do what is wanted.
    """
    roots: dict[str, Egress] = {}
    ingresses: dict[str, Ingress] = {}
    for name, demand in wanted_links.items():
        interface = found[demand.interface.name]
        refuse_foreign_ingress(demand, interface, found.get(name))
        facts = _facts(demand, features)
        # The cap is on what the host sends; an ifb device carries what it receives.
        cap = None if demand.of_source else cap_bit_per_s
        tree = compile_egress(demand.peers, cap, facts, _ours(found.get(name)))
        if tree is not None:
            roots[name] = tree
            if demand.of_source:
                there = interface.ingress if isinstance(interface.ingress, Ingress) else None
                ingresses[interface.device.name] = compile_ingress(tree, name, facts, there)
    wanted: dict[str, Wanted | None] = {name: Wanted(tree) for name, tree in roots.items()}
    for name, now in found.items():
        if is_our_ifb(now.device):
            wanted.setdefault(name, None)
        else:
            # Somebody else's root stays where nothing of ours is wanted.
            left = None if isinstance(now.root, Egress) else now.root
            wanted[name] = Wanted(roots.get(name, left), ingresses.get(name))
    return wanted


def _ours(found: Found | None) -> Egress | None:
    return found.root if found is not None and isinstance(found.root, Egress) else None


def _facts(demand: Demand, features: KernelFeatures) -> Facts:
    return Facts(
        device=demand.interface.name,
        mtu_bytes=demand.interface.mtu_bytes,
        has_netem=features.can("netem"),
        netem_refusal=features.refusals["netem"],
        has_flower=features.can("flower"),
        duplicate_refusal=features.refusals["netem_duplicate_many"],
        of_source=demand.of_source,
    )
