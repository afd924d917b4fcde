"""Mistakes of a testbed file that no value shows by itself."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from slicebed.spec.links import find_contradictions
from slicebed.spec.problems import Problem
from slicebed.spec.schema import StrictModel, told
from slicebed.spec.testbed_model import HostModel, LinkModel
from slicebed.spec.units import shown_us
from slicebed_agent.host.wish import MIN_QUOTA_US

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slicebed.spec.document import Document
    from slicebed.spec.testbed_model import TestbedModel

MAX_HOSTS = 64
ModelT = TypeVar("ModelT", bound=StrictModel)


def file_problems(document: Document) -> list[Problem]:
    """Every contradiction; a host or link with a value that is wrong by itself is not looked at as a whole."""
    return [*_host_problems(document), *_link_problems(document)]


def lab_problems(document: Document, model: TestbedModel) -> list[Problem]:
    """What the lab's address ranges cannot be."""
    lab = model.lab
    if lab is None:
        return []
    problems = []
    if lab.management.overlaps(lab.data):
        what = f"data {lab.data} overlaps management {lab.management}"
        problems.append(Problem(document.value_mark(("lab", "data")), what, "two ranges apart from each other"))
    # One address for the control machine, two that no host may have.
    if lab.management.num_addresses < len(model.hosts) + 3:
        what = f"management {lab.management} is too small for {len(model.hosts)} hosts"
        problems.append(Problem(document.value_mark(("lab", "management")), what, "a larger network"))
    # A network of four addresses for each link.
    if lab.data.num_addresses < 4 * len(model.links):
        what = f"data {lab.data} is too small for {len(model.links)} links"
        problems.append(Problem(document.value_mark(("lab", "data")), what, "a larger network"))
    return problems


def _valid(model: type[ModelT], data: object) -> ModelT | None:
    """A part of the file by itself; None when it has mistakes, which are told for the file as a whole."""
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _host_problems(document: Document) -> Iterator[Problem]:
    hosts = document.data.get("hosts")
    if not isinstance(hosts, dict):
        return
    if not 1 <= len(hosts) <= MAX_HOSTS:
        yield Problem(document.key_mark(("hosts",)), f"{len(hosts)} hosts", f"1 to {MAX_HOSTS} hosts")
    for name, data in hosts.items():
        yield from _core_problems(document, name, data)
        if (host := _valid(HostModel, data)) is not None:
            for key, what, allowed in _contradictions(host):
                yield Problem(document.value_mark(("hosts", name, key)), what, allowed)


def _core_problems(document: Document, name: str, host: object) -> Iterator[Problem]:
    cores = host.get("cores") if isinstance(host, dict) else None
    if not isinstance(cores, list):
        return
    location = ("hosts", name, "cores")
    if not cores:
        yield Problem(document.value_mark(location), "cores: an empty list", "at least one core")
    for index, core in enumerate(cores):
        if core in cores[:index]:
            what = f"core {told(core)} is given twice"
            yield Problem(document.value_mark((*location, index)), what, "each core once")


def _contradictions(host: HostModel) -> Iterator[tuple[str, str, str]]:
    """Key, what is wrong with it, and what would be allowed."""
    low, high = host.cpu_frequency_min, host.cpu_frequency_max
    for key, value in (("cpu_frequency_min", low), ("cpu_frequency_max", high)):
        if value is not None and host.cpu_frequency is not None:
            yield key, f"{key} besides cpu_frequency, which fixes both ends", f"cpu_frequency, or {key}"
    if low is not None and high is not None and low > high:
        what = f"cpu_frequency_min {low} kHz is above cpu_frequency_max {high} kHz"
        yield "cpu_frequency_min", what, f"at most {high} kHz"
    online = host.online_cores
    if host.cores and online is not None and max(host.cores) >= online:
        what = f"core {max(host.cores)} is not among the {online} online cores"
        yield "cores", what, f"0 to {online - 1}"
    usable = len(host.cores) if host.cores else online
    if usable and host.cpu_quota is not None and host.cpu_quota > usable:
        yield "cpu_quota", f"cpu_quota {host.cpu_quota:g} is more than the {usable} usable cores", f"0.01 to {usable}"
    if host.cpu_period is not None and host.cpu_quota is None:
        yield "cpu_period", "cpu_period without cpu_quota", "with cpu_quota"
    elif host.cpu_period is not None and host.cpu_quota is not None and host.cpu_quota * host.cpu_period < MIN_QUOTA_US:
        what = f"cpu_quota {host.cpu_quota:g} of cpu_period {shown_us(host.cpu_period)} is less than 1 ms"
        least = math.ceil(MIN_QUOTA_US / host.cpu_quota)
        yield "cpu_period", f"{what}, which no kernel takes", f"at least {shown_us(least)}"


def _link_problems(document: Document) -> Iterator[Problem]:
    links = document.data.get("links")
    if not isinstance(links, list):
        return
    seen: dict[frozenset[str], int] = {}
    for index, data in enumerate(links):
        ends = data.get("between") if isinstance(data, dict) else None
        if isinstance(ends, list):
            yield from _end_problems(document, index, ends, seen)
        if (link := _valid(LinkModel, data)) is not None:
            for problem in find_contradictions(link):
                mark = document.value_mark(("links", index, *problem.location))
                yield Problem(mark, problem.what, problem.allowed)


def _end_problems(
    document: Document, index: int, ends: list[object], seen: dict[frozenset[str], int]
) -> Iterator[Problem]:
    hosts = document.data.get("hosts")
    known = list(hosts) if isinstance(hosts, dict) else None
    location = ("links", index, "between")
    mark = document.value_mark(location)
    if len(ends) != 2:
        yield Problem(mark, f"a link between {len(ends)} hosts", "two hosts")
    names = [end for end in ends if isinstance(end, str)]
    for place, end in enumerate(ends):
        if known is not None and isinstance(end, str) and end not in known:
            yield Problem(document.value_mark((*location, place)), f'unknown host "{end}"', ", ".join(known))
    if len(names) != 2 or len(ends) != 2:
        return
    pair = frozenset(names)
    if len(pair) == 1:
        yield Problem(mark, f'a link from "{names[0]}" to itself', "two different hosts")
    elif pair in seen:
        first = document.value_mark(("links", seen[pair])).line
        what = f"a second link between {names[0]} and {names[1]}, the first is in line {first}"
        yield Problem(mark, what, "one link for a pair, it serves both directions")
    seen.setdefault(pair, index)
