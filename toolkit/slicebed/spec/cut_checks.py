"""What must hold of an experiment's cuts, as far as its file alone tells; split points' names are looked up later."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from slicebed.spec.cuts import cut_of, cut_rule_of
from slicebed.spec.model_checks import has_model, named_model, zoo_name
from slicebed.spec.models import LAYER_KINDS
from slicebed.spec.problems import Problem

if TYPE_CHECKING:
    from slicebed.spec.cuts import Cut
    from slicebed.spec.document import Document, Location
    from slicebed.spec.problems import Mark


def cut_problems(document: Document, chain: list[str] | None) -> list[Problem]:
    """Every mistake of the chain's cuts; those with the chain only where it is known."""
    return cut_list_problems(document, ("cuts",), document.data.get("cuts"), chain, "the chain")


def cut_list_problems(
    document: Document, location: Location, cuts: object, hosts: list[str] | None, on: str
) -> list[Problem]:
    """Every mistake of a list of cuts.

    Args:
        document: the file.
        location: where the list stands.
        cuts: what stands there.
        hosts: of the slices, in order; None where they are not known.
        on: what the hosts are, for messages.
    """
    rule = cut_rule_of(cuts)
    if rule is not None and hosts is not None and len(hosts) != 2:
        what = f"cuts: {rule} divides a model in two, {on} {', '.join(hosts)} are {len(hosts)}"
        return [Problem(document.value_mark(location), what, "a rule for two hosts, or a list of cuts")]
    if not isinstance(cuts, list):
        return []
    if not cuts:
        return [Problem(document.value_mark(location), "cuts: an empty list", "at least one cut")]
    problems = []
    seen: set[str] = set()
    for index, value in enumerate(cuts):
        cut = cut_of(value)
        if cut is None:
            continue
        mark = document.value_mark((*location, index))
        if cut.label in seen:
            problems.append(Problem(mark, f'cut "{cut.label}" is given twice', "each cut once"))
        seen.add(cut.label)
        if hosts is not None and len(hosts) >= 2 and len(cut.points) != len(hosts) - 1:
            what = f'cut "{cut.label}" has {_count(len(cut.points), "split point")}'
            wanted = f"{_count(len(hosts) - 1, 'split point')} for {on} {', '.join(hosts)}"
            problems.append(Problem(mark, what, wanted))
        problems += _point_problems(document, mark, cut, hosts)
    return problems


def _point_problems(document: Document, mark: Mark, cut: Cut, hosts: list[str] | None) -> list[Problem]:
    model = zoo_name(named_model(document))
    if cut.layers is None:
        return _name_problems(mark, cut)
    if model not in LAYER_KINDS and has_model(document):
        what = f'cut "{cut.label}": {named_model(document)} is not cut by layer numbers'
        allowed = f"a list of names of split points, as slicebed model cuts {named_model(document)} prints them"
        return [Problem(mark, what, allowed)]
    ranges = _range_problems(mark, cut, cut.layers, model) if model in LAYER_KINDS else []
    return ranges + _order_problems(mark, cut, cut.layers, hosts)


def _name_problems(mark: Mark, cut: Cut) -> list[Problem]:
    names = [str(name) for name in cut.points]
    twice = dict.fromkeys(name for name in names if names.count(name) > 1)
    allowed = "names of split points in the model's order, each once"
    return [Problem(mark, f'split point "{name}" is twice in the cut', allowed) for name in twice]


def _range_problems(mark: Mark, cut: Cut, points: tuple[int, ...], model: str | None) -> list[Problem]:
    layers = len(LAYER_KINDS[str(model)])
    allowed = f"1 to {layers - 1} ({model} has {layers} layers, the last host runs at least one)"
    problems = []
    for point in points:
        if point < 1:
            problems.append(Problem(mark, f'split point {point} of cut "{cut.label}" is before layer 1', allowed))
        elif point > layers:
            problems.append(Problem(mark, f'split point {point} of cut "{cut.label}" is past the last layer', allowed))
        elif point == layers:
            what = f'split point {point} of cut "{cut.label}" leaves no layer for the last host'
            problems.append(Problem(mark, what, allowed))
    return problems


def _order_problems(mark: Mark, cut: Cut, points: tuple[int, ...], chain: list[str] | None) -> list[Problem]:
    problems = []
    for index, (before, after) in enumerate(pairwise(points)):
        if after <= before:
            named = chain if chain is not None and len(chain) == len(points) + 1 else None
            first = f"the {named[index]} cut" if named else "the one before it"
            second = f"the {named[index + 1]} cut" if named else "a split point"
            what = f'{second} ({after}) is not after {first} ({before}) in "{cut.label}"'
            problems.append(Problem(mark, what, "layer numbers that strictly increase along the chain"))
    return problems


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
