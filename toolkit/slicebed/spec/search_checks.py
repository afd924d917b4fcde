"""What must hold of a search, between its parts and with its experiment; from the plain data."""

from __future__ import annotations

from importlib.metadata import entry_points
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError
from slicebed.spec.knobs import read_knob, split_knob
from slicebed.spec.model_checks import choice_problems, named_model, zoo_name
from slicebed.spec.models import DIGITS_MODEL, Images
from slicebed.spec.objective import METRICS
from slicebed.spec.pipeline_checks import placements_of
from slicebed.spec.problems import Problem, did_you_mean
from slicebed.spec.schema import is_title
from slicebed.spec.search import FEWEST_FRAMES, OWN_TESTBED, RUNS_THAT_TELL, least_repeats

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from slicebed.spec.document import Document, Location
    from slicebed.spec.testbed import Testbed

GROUP = "slicebed.methods"
"""The entry points of methods."""
_LISTS = ("method", "codecs", "sites")


def search_problems(
    document: Document, chain: Sequence[str] | None, testbed: Testbed | None, testbeds: Mapping[str, Testbed]
) -> list[Problem]:
    """Every mistake of the ``search:`` section; those with hosts only where these are known.

    Args:
        document: the experiment's file.
        chain: its hosts.
        testbed: its own.
        testbeds: the search's, those that could be read.
    """
    search = document.data.get("search")
    if search is None and "search" in document.data:
        allowed = "search: {}, which looks for the lowest latency by hybrid, or keys of docs/experiment.md"
        return [Problem(document.key_mark(("search",)), "search: nothing", allowed)]
    if not isinstance(search, dict):
        return []
    problems = [*_repeated(document, search), *_method_problems(document, search)]
    problems += [*_objective_problems(document, search), *_repeat_problems(document, search)]
    problems += _model_problems(document, search)
    if testbed is not None:
        problems += _testbed_problems(document, testbed, testbeds)
        problems += _left_problems(document, search, testbeds)
        if chain is not None:
            problems += _knob_problems(document, search, chain, {"": testbed, **testbeds})
    return problems


def known_methods() -> tuple[str, ...]:
    """The methods that are installed."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)}))


def _repeated(document: Document, search: dict[str, Any]) -> Iterator[Problem]:
    for key in _LISTS:
        given = search.get(key)
        yield from _twice(document, ("search", key), given if isinstance(given, list) else [])


def _twice(document: Document, location: Location, values: list[Any]) -> Iterator[Problem]:
    for index, value in enumerate(values):
        # 1 and true are equal, and so are 1 and 1.0, which is one value of a knob.
        if value in values[:index] and isinstance(value, (str, int, float)):
            mark = document.value_mark((*location, index))
            yield Problem(mark, f'"{value}" is given twice', "each once")


def _method_problems(document: Document, search: dict[str, Any]) -> Iterator[Problem]:
    said = search.get("method")
    named: list[tuple[Location, Any]] = [(("search", "method"), said)]
    if isinstance(said, list):
        named = [(("search", "method", index), each) for index, each in enumerate(said)]
    options = search.get("options")
    marks = [(document.value_mark(location), each) for location, each in named]
    if isinstance(options, dict):
        marks += [(document.key_mark(("search", "options", name)), name) for name in options]
    # A checkout that was never installed registers nothing; the search itself then says so.
    known = known_methods()
    for mark, name in marks:
        if known and isinstance(name, str) and is_title(name) and name not in known:
            yield Problem(mark, f'unknown method "{name}"{did_you_mean(name, known)}', ", ".join(known))


def _objective_problems(document: Document, search: dict[str, Any]) -> Iterator[Problem]:
    objective = search.get("objective")
    if not isinstance(objective, dict) or not isinstance(objective.get("weights"), dict):
        return
    location: Location = ("search", "objective")
    weights = objective["weights"]
    if not set(weights) <= set(METRICS):
        return
    said = objective.get("scales")
    scales = said if isinstance(said, dict) else {}
    if not weights:
        yield Problem(document.value_mark((*location, "weights")), "weights: an empty mapping", "at least one metric")
    if len(weights) > 1:
        for metric in weights:
            if metric not in scales:
                mark = document.key_mark((*location, "weights", metric))
                allowed = f"scales: {{{metric}: ...}}, what one unit of it counts as, where several are weighed"
                yield Problem(mark, f"{metric} is weighed without a scale", allowed)
    for metric in scales:
        if metric not in weights:
            mark = document.key_mark((*location, "scales", metric))
            yield Problem(mark, f"a scale of {metric}, which is not weighed", f"scales of {', '.join(weights)}")


def _repeat_problems(document: Document, search: dict[str, Any]) -> Iterator[Problem]:
    repeats = search.get("repeats")
    if not isinstance(repeats, dict):
        return
    location: Location = ("search", "repeats")
    given, most, until = (repeats.get(key) for key in ("at_least", "at_most", "until"))
    # What is wrong by itself is told already.
    if not all(each is None or (isinstance(each, int) and each >= 1) for each in (given, most)):
        return
    least = least_repeats(given, until)
    if until is not None and given is not None and given < RUNS_THAT_TELL:
        what = f"at_least {given} with until: from fewer than {RUNS_THAT_TELL} runs nobody can tell what runs differ by"
        yield Problem(document.value_mark((*location, "at_least")), what, f"{RUNS_THAT_TELL} or more, or no until")
    elif most is not None and most < least:
        mark = document.value_mark((*location, "at_most"))
        yield Problem(mark, f"at_most {most} is below at_least {least}", f"{least} or more")
    elif until is not None and (most is None or most == least):
        mark = document.key_mark((*location, "until"))
        yield Problem(mark, "until without repeats to add", f"with at_most above {least}")
    elif until is not None and most is not None:
        yield from _until_problems(document, search, most)


def _until_problems(document: Document, search: dict[str, Any], most: int) -> Iterator[Problem]:
    """Metrics whose interval never comes to be known, however often a candidate is run."""
    objective, frames = search.get("objective", "latency"), document.data.get("frames")
    named = {"weights": {objective: 1}} if isinstance(objective, str) else objective
    for part in ("weights", "limits"):
        metrics = named.get(part) if isinstance(named, dict) else None
        for metric in metrics if isinstance(metrics, dict) else ():
            alone: Location = ("search", "repeats", "until")
            fewest = FEWEST_FRAMES.get(metric, 1)
            if metric == "energy":
                allowed = "repeats without until, or another objective"
                yield Problem(document.key_mark(alone), "until with energy, which has no interval", allowed)
            elif isinstance(frames, int) and 1 <= frames * most < fewest:
                what = f"until with {metric}: {most} runs of {frames} frames tell no interval of it"
                yield Problem(document.key_mark(alone), what, f"frames x at_most of {fewest} or more")


def _model_problems(document: Document, search: dict[str, Any]) -> Iterator[Problem]:
    models = search.get("models")
    if not isinstance(models, list):
        return
    own = _name(document, ("model",))
    listed = [document.data.get("cuts"), *(each.get("cuts") for _, each in placements_of(document))]
    digits = _sees_digits(document, own)
    seen: set[str] = set()
    for index in range(len(models)):
        location: Location = ("search", "models", index)
        yield from choice_problems(document, location)
        name = _name(document, location)
        if name is None:
            continue
        mark = document.value_mark(location)
        if name in seen:
            yield Problem(mark, f'model "{name}" is given twice', "each once, by its name")
        elif name != own and any(isinstance(cuts, list) for cuts in listed):
            yield Problem(mark, f'cuts are listed of {own}, not of "{name}"', "cuts: couper, where models differ")
        elif name != DIGITS_MODEL and digits:
            allowed = f"source.images: {Images.RANDOM}, or pictures, where models differ"
            yield Problem(mark, f"digits are no pictures for {name}", allowed)
        seen.add(name)


def _name(document: Document, location: Location) -> str | None:
    named = named_model(document, location)
    return zoo_name(named) or named if isinstance(named, str) else None


def _sees_digits(document: Document, model: str | None) -> bool:
    source = document.data.get("source")
    if not isinstance(source, dict):
        return False
    asked = source.get("images")
    pictures = source.get("video") is not None or source.get("folder") is not None
    return bool(asked == Images.DIGITS or (asked is None and not pictures and model == DIGITS_MODEL))


def _testbed_problems(document: Document, own: Testbed, testbeds: Mapping[str, Testbed]) -> Iterator[Problem]:
    for name, each in testbeds.items():
        mark = document.value_mark(("search", "testbeds", name))
        if name == OWN_TESTBED:
            what = f'condition "{name}" is what the experiment\'s own testbed is called'
            yield Problem(document.key_mark(("search", "testbeds", name)), what, "another name")
        if each.host_names != own.host_names:
            what = f"{each.path} has the hosts {', '.join(each.host_names)}"
            yield Problem(mark, what, f"those of {own.path}, in their order: {', '.join(own.host_names)}")
        elif each.lab != own.lab:
            what = f"{each.path} has another lab"
            yield Problem(mark, what, f"the same ranges as {own.path}, so that one lab serves all")


def _left_problems(document: Document, search: dict[str, Any], testbeds: Mapping[str, Testbed]) -> Iterator[Problem]:
    """What one condition sets and another leaves as it is: there it would be as the one before has left it."""
    knobs = search.get("knobs")
    turned = {name for name in knobs if isinstance(name, str)} if isinstance(knobs, dict) else set()
    asked = {
        name: {
            (host.name, part)
            for host in each.hosts
            for part, (fields, knobs_of_it) in _PARTS.items()
            if any(getattr(host, field) is not None for field in fields)
            or any(f"{host.name}.{knob}" in turned for knob in knobs_of_it)
        }
        for name, each in testbeds.items()
    }
    for name, own in asked.items():
        for other, others in asked.items():
            if missing := sorted(others - own):
                host, part = missing[0]
                what = f"{testbeds[name].path} asks for no {part} of {host}, which condition {other} sets"
                allowed = f"{part} of {host} in both: what the one sets would stay under the other"
                yield Problem(document.value_mark(("search", "testbeds", name)), what, allowed)
                break


_CLOCK_KNOBS = ("frequency",)
_PARTS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = MappingProxyType(
    {
        "limit (cores, memory, cpu_quota)": (("cores", "memory_bytes", "cpu_quota", "gpu"), ("cores", "quota")),
        "lowest frequency": (("cpu_frequency_khz", "cpu_min_khz"), _CLOCK_KNOBS),
        "highest frequency": (("cpu_frequency_khz", "cpu_max_khz"), _CLOCK_KNOBS),
        "governor": (("governor",), ("governor",)),
        "boost": (("boost",), ()),
        "smt": (("smt",), ()),
        "online_cores": (("online_cores",), ()),
    }
)
"""What a host is set to as a whole, with the fields of `Host` and the knobs that ask for it. A limit that is set lifts
those beside it that are not asked for; of processors what is not asked for stays."""


def _knob_problems(
    document: Document, search: dict[str, Any], chain: Sequence[str], testbeds: Mapping[str, Testbed]
) -> Iterator[Problem]:
    knobs = search.get("knobs")
    for name, values in (knobs if isinstance(knobs, dict) else {}).items():
        location: Location = ("search", "knobs", name)
        try:
            host, knob = split_knob(name, chain)
        except SpecError as error:
            yield Problem(document.key_mark(location), error.what, str(error.mend).removeprefix("allowed: "))
            continue
        for index, value in enumerate(values if isinstance(values, list) else []):
            mark = document.value_mark((*location, index))
            if not isinstance(value, (int, float, str)) or isinstance(value, bool) or value == "":
                continue
            try:
                read = read_knob(knob, value)
            except SpecError as error:
                yield Problem(mark, error.what, str(error.mend).removeprefix("allowed: "))
                continue
            fewest = _fewest_cores(host, testbeds)
            if knob == "cores" and fewest is not None and int(read) > fewest:
                what = f"{name}: {read} cores, {host} has {fewest}"
                yield Problem(mark, what, f"1 to {fewest}, as its testbed gives it")
        yield from _twice(document, location, values if isinstance(values, list) else [])


def _fewest_cores(host: str, testbeds: Mapping[str, Testbed]) -> int | None:
    """How many cores a host's workload has wherever it has least; None where no testbed says."""
    given = [each.host(host).cores for each in testbeds.values() if host in each.host_names]
    return min((len(cores) for cores in given if cores is not None), default=None)
