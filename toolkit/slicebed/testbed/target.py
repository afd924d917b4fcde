"""What a verb on conditions acts on: a testbed file, the inventory's hosts that it names, what is asked of them."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError
from slicebed.spec.testbed import load_testbed
from slicebed.spec.wishes import host_wishes, wire_wishes
from slicebed.testbed.inventory import read_inventory

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slicebed.spec.links import Link
    from slicebed.spec.testbed import Testbed
    from slicebed.testbed.checkout import Checkout
    from slicebed.testbed.inventory import InventoryHost

PARTS = ("network", "cpu", "workload")


@dataclass(frozen=True)
class Target:
    """A testbed and its hosts.

    Attributes:
        checkout: where the playbooks are.
        testbed: what is asked.
        inventory: Ansible's inventory file.
        hosts: the testbed's hosts, by name in tier order.
        neighbours: every host of the inventory, which may link the testbed's to others.
        parts: the kinds of condition to act on.
        shape_control_path: allow a link that SSH itself runs over.
    """

    checkout: Checkout
    testbed: Testbed
    inventory: Path
    hosts: Mapping[str, InventoryHost]
    neighbours: Mapping[str, InventoryHost]
    parts: frozenset[str] = frozenset(PARTS)
    shape_control_path: bool = False

    def uncompensated(self, base_rtt_us: Mapping[tuple[str, str], float]) -> tuple[Link, ...]:
        """The links that compensate for a round trip which nobody has measured yet."""
        return tuple(link for link in self.testbed.links if link.compensate and (link.a, link.b) not in base_rtt_us)

    def asked(self, base_rtt_us: Mapping[tuple[str, str], float], *, before_measuring: bool = False) -> Asked:
        """Compile what is asked of every host and wire.

        Args:
            base_rtt_us: round trips before shaping by pair of hosts, for links that compensate.
            before_measuring: take one that is not measured yet for nothing, as a plan of untouched hosts must.

        Raises:
            SpecError: what the file asks cannot be, with file:line.
        """
        unknown = self.uncompensated(base_rtt_us) if before_measuring else ()
        base = {**base_rtt_us, **{(link.a, link.b): 0.0 for link in unknown}}
        wishes = host_wishes(
            self.testbed,
            self.neighbours,
            parts=self.parts,
            base_rtt_us=base,
            shape_control_path=self.shape_control_path,
        )
        wires = wire_wishes(self.testbed, self.neighbours, base_rtt_us=base) if "network" in self.parts else []
        return Asked(wishes, wires)


@dataclass(frozen=True)
class Asked:
    """What is asked of every host (as its tools read it) and of every wire of the lab."""

    wishes: Mapping[str, dict[str, Any]]
    wires: list[dict[str, Any]] = field(default_factory=list)

    @property
    def digest(self) -> str:
        """SHA-256 of what is asked; the same wish has the same digest everywhere."""
        plain = {"wishes": self.wishes, "wires": self.wires}
        return hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()

    def variables(self) -> dict[str, Any]:
        """What the playbooks are given."""
        return {"slicebed_wishes": dict(self.wishes), "slicebed_wires": self.wires}


def verdict_file(target: Target) -> Path:
    """Where the last verdicts of a testbed are kept; the runs that follow carry them."""
    return target.checkout.results / "conditions" / f"{target.testbed.name}.json"


def load_target(
    checkout: Checkout,
    testbed: Path,
    inventory: Path,
    only: frozenset[str] | None = None,
    *,
    shape_control_path: bool = False,
) -> Target:
    """Read the testbed file and the inventory, and hold them against each other.

    Raises:
        SpecError: a mistake in either, or a host of the testbed that the inventory lacks.
        MissingRequirementError: no such inventory.
    """
    spec = load_testbed(testbed)
    parts = only or frozenset(PARTS)
    if unknown := sorted(parts - set(PARTS)):
        raise SpecError(f'unknown part "{unknown[0]}"', where="--only", mend=f"allowed: {', '.join(PARTS)}")
    found = read_inventory(inventory)
    for name in spec.host_names:
        if name not in found:
            raise SpecError(
                f'host "{name}" is not in the inventory {inventory}',
                where=spec.place_of_host(name),
                mend=f"it has {', '.join(found)}; raise the lab with the same file: slicebed lab up -t {testbed}",
            )
    hosts = {name: found[name] for name in spec.host_names}
    return Target(checkout, spec, inventory, hosts, found, parts, shape_control_path)
