"""The `search:` section of an experiment: what is searched, by which methods, for which objective."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.spec.objective import Objective

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slicebed.spec.models import ModelChoice
    from slicebed.spec.testbed import Testbed
    from slicebed_agent.pipeline.codecs import Codec

LATENCY = Objective(MappingProxyType({"latency": 1.0}))
OWN_TESTBED = "testbed"
"""The name of the only condition where a search names none: the experiment's own testbed."""


@dataclass(frozen=True)
class Search:
    """What is searched, and how.

    Attributes:
        models: one problem each under every condition; the experiment's own where the file names none.
        testbeds: condition -> testbed; the experiment's own as `OWN_TESTBED` where the file names none. All have the
            same hosts and the same lab networks.
        codecs: of every link, a candidate each; the experiment's own where the file names none.
        knobs: `HOST.KNOB` -> values, a candidate for each combination; see `slicebed.spec.knobs`. Frequencies are kHz.
        methods: by name; they share the cells.
        objective: what is minimised.
        budget: the most candidates that a method may measure; None: no limit.
        at_least: repeats of each candidate.
        at_most: repeats where the interval stays wider than `until`.
        until: half the width of the 95 % interval of the objective, as a share of it, that ends repeating; None: never
            looked at.
        options: method -> option -> a number (of a quantity in s, B, bit/s, frame/s, Hz, J or a share of 1), or a word.
        sites: inventories of alike testbeds that share one queue of cells; () is the command's own.
    """

    models: tuple[ModelChoice, ...]
    testbeds: Mapping[str, Testbed]
    codecs: tuple[Codec, ...]
    knobs: Mapping[str, tuple[float | str, ...]] = field(default_factory=lambda: MappingProxyType({}))
    methods: tuple[str, ...] = ("hybrid",)
    objective: Objective = LATENCY
    budget: int | None = None
    at_least: int = 1
    at_most: int = 1
    until: float | None = None
    options: Mapping[str, Mapping[str, float | str]] = field(default_factory=lambda: MappingProxyType({}))
    sites: tuple[Path, ...] = ()

    def to_plain(self) -> dict[str, object]:
        """As manifests hold it."""
        return {
            "methods": list(self.methods),
            "objective": {name: dict(values) for name, values in _parts(self.objective).items()},
            "budget": self.budget,
            "models": [{"name": each.argument, **each.settings()} for each in self.models],
            "testbeds": {name: testbed_to_plain(each) for name, each in self.testbeds.items()},
            "codecs": [codec.value for codec in self.codecs],
            "knobs": {name: list(values) for name, values in self.knobs.items()},
            "repeats": {"at_least": self.at_least, "at_most": self.at_most, "until": self.until},
            "options": {method: dict(values) for method, values in self.options.items()},
            "sites": [str(site) for site in self.sites],
        }


def _parts(objective: Objective) -> dict[str, Mapping[str, float]]:
    return {"weights": objective.weights, "scales": objective.scales, "limits": objective.limits}


def testbed_to_plain(testbed: Testbed) -> dict[str, object]:
    """A testbed as manifests hold it."""
    lab = testbed.lab
    return {
        "name": testbed.name,
        "path": str(testbed.path),
        "hosts": [asdict(host) for host in testbed.hosts],
        "links": [link.to_plain() for link in testbed.links],
        "lab": None if lab is None else {"management": str(lab.management), "data": str(lab.data)},
    }
