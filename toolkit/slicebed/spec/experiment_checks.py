"""What must hold between the parts of an experiment; read from the plain data, so that one mistake hides no other."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from slicebed.spec.cut_checks import cut_problems
from slicebed.spec.exit_checks import exit_problems
from slicebed.spec.model_checks import model_problems
from slicebed.spec.pipeline_checks import pipeline_problems
from slicebed.spec.problems import Problem
from slicebed.spec.search_checks import search_problems
from slicebed.spec.source_checks import source_problems

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed.spec.document import Document, Location
    from slicebed.spec.testbed import Testbed


def experiment_problems(document: Document, testbed: Testbed | None, testbeds: Mapping[str, Testbed]) -> list[Problem]:
    """Every mistake between the parts of ``document``; those with a testbed only when there is one.

    Args:
        document: the file.
        testbed: the experiment's.
        testbeds: its search's, by condition.
    """
    chain = _chain(document)
    # A host that is twice in the chain is told once, not again by every cut.
    hosts = None if chain is None else list(dict.fromkeys(chain))
    known = testbed is None or all(name in testbed.host_names for name in hosts or ())
    # A wrong name in the chain is told there, not again by every configuration that has the right one.
    placed = document.data.get("placements") is not None
    problems = model_problems(document) + source_problems(document) + exit_problems(document)
    problems += pipeline_problems(document, hosts if known else None, testbed)
    problems += [] if placed else cut_problems(document, hosts)
    problems += _configuration_problems(document, hosts if known else None, testbed)
    problems += search_problems(document, hosts if known else None, testbed, testbeds)
    if chain is not None:
        problems += _chain_problems(document, chain, testbed, each_linked=not placed)
    return problems


def _chain(document: Document) -> list[str] | None:
    chain = document.data.get("chain")
    if isinstance(chain, list) and all(isinstance(name, str) for name in chain):
        return chain
    return None


def _chain_problems(
    document: Document, chain: list[str], testbed: Testbed | None, *, each_linked: bool
) -> list[Problem]:
    """Mistakes of the chain itself; with placements, only the links that these use must be there."""
    problems = []
    least = "two or more hosts" if each_linked else "at least one host"
    if len(chain) < (2 if each_linked else 1):
        problems.append(Problem(document.value_mark(("chain",)), f"a chain of {len(chain)} hosts", least))
    for index, name in enumerate(chain):
        mark = document.value_mark(("chain", index))
        if name in chain[:index]:
            problems.append(Problem(mark, f'host "{name}" is twice in the chain', "each host once"))
        if testbed is not None and name not in testbed.host_names:
            problems.append(Problem(mark, f'unknown host "{name}"', _hosts_of(testbed)))
    if testbed is None or not each_linked:
        return problems
    linked = ", ".join(f"{link.a}-{link.b}" for link in testbed.links) or "none"
    for index, (a, b) in enumerate(pairwise(chain), start=1):
        known = a in testbed.host_names and b in testbed.host_names
        if known and a != b and testbed.link(a, b) is None:
            what = f"{a} and {b} are not linked"
            allowed = f"neighbours linked by {testbed.path} ({linked})"
            problems.append(Problem(document.value_mark(("chain", index)), what, allowed))
    return problems


def _hosts_of(testbed: Testbed) -> str:
    return f"{', '.join(testbed.host_names)} (from {testbed.path})"


def _configuration_problems(document: Document, chain: list[str] | None, testbed: Testbed | None) -> list[Problem]:
    configurations = document.data.get("configurations")
    if not isinstance(configurations, list):
        return []
    if not configurations:
        return [Problem(document.value_mark(("configurations",)), "an empty list", "at least one configuration")]
    problems = []
    seen: dict[str, int] = {}
    for index, each in enumerate(configurations):
        if not isinstance(each, dict):
            continue
        name = each.get("name")
        if isinstance(name, (str, int)):
            if str(name) in seen:
                mark = document.value_mark(("configurations", index, "name"))
                problems.append(Problem(mark, f'configuration "{name}" is given twice', "each name once"))
            seen[str(name)] = index
        hosts = each.get("hosts")
        if chain is not None and isinstance(hosts, dict):
            location: Location = ("configurations", index, "hosts")
            problems += _condition_problems(document, location, list(hosts), chain, testbed)
    return problems


def _condition_problems(
    document: Document, location: Location, hosts: list[str], chain: list[str], testbed: Testbed | None
) -> list[Problem]:
    allowed = f"exactly the hosts of the chain: {', '.join(chain)}"
    problems = [
        Problem(document.key_mark(location), f'no condition for host "{name}"', allowed)
        for name in chain
        if name not in hosts
    ]
    for name in hosts:
        if name in chain:
            continue
        outside = testbed is not None and name in testbed.host_names
        what = f'host "{name}" is not in the chain' if outside else f'unknown host "{name}"'
        problems.append(Problem(document.key_mark((*location, name)), what, allowed))
    return problems
