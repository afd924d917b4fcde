"""The `search:` section of an experiment: what is searched, by which methods, for which objective."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed.spec.knobs import WORKLOAD_KNOBS, read_knob
from slicebed.spec.model_checks import beside, model_of
from slicebed.spec.objective import METRICS, Objective
from slicebed.spec.wishes import cpu_wish, workload_wish
from slicebed.stats import fewest_for_quantile

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from slicebed.spec.document import Document
    from slicebed.spec.models import ModelChoice
    from slicebed.spec.search_model import AmountsModel, ObjectiveModel, SearchModel
    from slicebed.spec.testbed import Testbed
    from slicebed_agent.pipeline.codecs import Codec

LATENCY = Objective(MappingProxyType({"latency": 1.0}))
OWN_TESTBED = "testbed"
"""The name of the only condition where a search names none: the experiment's own testbed."""
RUNS_THAT_TELL = 3
"""The fewest runs from whose figures `until` is judged.

One run cannot know what runs differ by. Of two, Student's interval is 9 standard deviations wide to either side, so
that only runs which are alike by chance end repeating; of three it is 2.5.
"""
FEWEST_FRAMES = MappingProxyType({"latency": fewest_for_quantile(0.5), "latency_p95": fewest_for_quantile(0.95)})
"""Completed frames of all runs together, from which a metric has an interval; one where it is not named."""

# How many of what the file's amounts are counted in make one of the metric's unit: microseconds, microjoules.
_PARTS = MappingProxyType({"s": 1_000_000, "J": 1_000_000})


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
        at_least: repeats of each candidate; with `until` at least `RUNS_THAT_TELL`.
        at_most: repeats where an interval stays wider than `until`.
        until: half the width of the 95 % interval of each metric of the objective, as a share of it (of the drop rate
            itself: percentage points), that ends repeating; None: never looked at.
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

    @property
    def parts(self) -> frozenset[str]:
        """The parts of the testbed that its conditions and knobs set.

        Links always; of the hosts what a testbed that the search names says, or a knob varies. Of the experiment's own
        testbed links alone, as in a run.
        """
        named = [] if set(self.testbeds) == {OWN_TESTBED} else list(self.testbeds.values())
        hosts = [host for testbed in named for host in testbed.hosts]
        knobs = {name.partition(".")[2] for name in self.knobs}
        parts = {"network"}
        if knobs & WORKLOAD_KNOBS or any(workload_wish(host) for host in hosts):
            parts.add("workload")
        if knobs - WORKLOAD_KNOBS or any(cpu_wish(host) for host in hosts):
            parts.add("cpu")
        return frozenset(parts)

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


def search_of(document: Document, model: SearchModel, testbeds: Mapping[str, Testbed], own: Search) -> Search:
    """The search that a file without `search_problems` asks for.

    Args:
        document: the experiment's file.
        model: its section.
        testbeds: those that it names, by condition.
        own: what holds where the section says nothing.
    """
    methods = own.methods if model.method is None else tuple(model.method)
    models = own.models
    if model.models is not None:
        models = tuple(model_of(document, each, ("search", "models", at)) for at, each in enumerate(model.models))
    least, most = own.at_least, own.at_most
    if model.repeats is not None:
        least = least_repeats(model.repeats.at_least, model.repeats.until)
        most = least if model.repeats.at_most is None else model.repeats.at_most
    return Search(
        models=models,
        testbeds=MappingProxyType(dict(testbeds)) if testbeds else own.testbeds,
        codecs=own.codecs if model.codecs is None else tuple(model.codecs),
        knobs=MappingProxyType({name: _knob_values(name, values) for name, values in (model.knobs or {}).items()}),
        methods=methods,
        objective=own.objective if model.objective is None else _objective(model.objective),
        budget=model.budget,
        at_least=least,
        at_most=most,
        until=None if model.repeats is None else model.repeats.until,
        options=MappingProxyType({name: MappingProxyType(each) for name, each in (model.options or {}).items()}),
        sites=tuple(beside(document, site) for site in model.sites or ()),
    )


def least_repeats(given: int | None, until: object) -> int:
    """How often every candidate is measured where a file may say so, and may give `until`."""
    return given if given is not None else 1 if until is None else RUNS_THAT_TELL


def _knob_values(name: str, values: Sequence[float | str]) -> tuple[float | str, ...]:
    return tuple(read_knob(name.partition(".")[2], value) for value in values)


def _objective(model: ObjectiveModel) -> Objective:
    weights = {metric: value for metric, value in model.weights if value is not None}
    return Objective(
        weights=MappingProxyType(weights),
        scales=MappingProxyType(_amounts(model.scales)),
        limits=MappingProxyType(_amounts(model.limits)),
    )


def _amounts(model: AmountsModel | None) -> dict[str, float]:
    """Amounts in the units of `METRICS`."""
    given = {} if model is None else {metric: value for metric, value in model if value is not None}
    return {metric: value / _PARTS.get(METRICS[metric], 1) for metric, value in given.items()}


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
