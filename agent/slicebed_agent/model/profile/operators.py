"""How long each operator of the whole model takes, from the times of TensorFlow's kernels.

TensorFlow runs a rewritten graph: one kernel may do the work of several operators, under the name of one of them, and
some operators are not run at all. A kernel's time is given to the operator whose name it bears, and the record says of
every other operator whose kernel did its work.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Final

import numpy as np

from slicebed_agent.model.profile.record import OperatorTime, OperatorTimes
from slicebed_agent.model.profile.statistics import Estimate, estimate
from slicebed_agent.model.profile.trace import read_kernels

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from slicebed_agent.model.graph import Graph, Operator
    from slicebed_agent.model.profile.trace import Kernel

_PER_SECOND: Final = 1e9
_OTHER: Final = ""  # no operator's name
_NOTHING: Final = Estimate(0.0, 0.0, 0.0)


def operator_times(
    graph: Graph, told: Sequence[bytes], traced_s: Sequence[float], whole_s: Sequence[float]
) -> OperatorTimes:
    """Times of operators from traced runs of the whole model.

    Args:
        graph: of the model, at operator level.
        told: a serialised RunMetadata per round.
        traced_s: how long each of those runs took.
        whole_s: how long the run without tracing of the same round took.

    Raises:
        AgentError: see `trace.read_kernels`.
    """
    runs = [read_kernels(each) for each in told]
    ran = {kernel.name for run in runs for kernel in run}
    bearers = bearers_of(graph, ran)
    kernels = kernels_of(graph, bearers)
    elapsed = [_by_operator(elapsed_shares(run), bearers) for run in runs]
    busy = [_by_operator(busy_times(run), bearers) for run in runs]
    own = set(bearers.values())
    rows = tuple(
        OperatorTime(
            name=each.name,
            kernel=kernels[each.name],
            time_s=_estimate(each.name, elapsed) if each.name in own else _NOTHING,
            busy_s=_estimate(each.name, busy) if each.name in own else _NOTHING,
        )
        for each in graph.operators
    )
    whole = np.array(whole_s)
    sums = np.array([sum(run[name] for name in own) for run in elapsed])
    return OperatorTimes(
        rows=rows,
        sum_s=estimate(sums),
        sum_to_whole=estimate(sums / whole),
        other_s=_estimate(_OTHER, elapsed),
        traced_s=estimate(traced_s),
        traced_to_whole=estimate(np.array(traced_s) / whole),
    )


def _estimate(name: str, runs: Sequence[Mapping[str, float]]) -> Estimate:
    return estimate([run[name] for run in runs])


def _by_operator(seconds: Mapping[str, float], bearers: Mapping[str, str]) -> Mapping[str, float]:
    """Times of nodes as times of operators; of what belongs to none under an empty name."""
    found: defaultdict[str, float] = defaultdict(float)
    for name, spent in seconds.items():
        found[bearers.get(name, _OTHER)] += spent
    return found


def busy_times(run: Iterable[Kernel]) -> dict[str, float]:
    """Seconds from a kernel's beginning to its end, by its name; kernels that run at once each count in full."""
    spent: Counter[str] = Counter()
    for kernel in run:
        spent[kernel.name] += kernel.end_ns - kernel.begin_ns
    return {name: nanoseconds / _PER_SECOND for name, nanoseconds in spent.items()}


def elapsed_shares(run: Iterable[Kernel]) -> dict[str, float]:
    """Seconds of elapsed time that each kernel stands for, by its name.

    Where n kernels run at once, on threads of their own, the time that passes counts 1/n for each: so the sum over all
    kernels is the time in which any of them ran, and never more than the run.
    """
    spent: defaultdict[str, float] = defaultdict(float)
    lasting = [each for each in run if each.end_ns > each.begin_ns]
    events = [(each.begin_ns, 1, each.name) for each in lasting] + [(each.end_ns, -1, each.name) for each in lasting]
    running: Counter[str] = Counter()
    before = 0
    for now, change, name in sorted(events):
        for each, count in running.items():
            spent[each] += (now - before) / _PER_SECOND * count / running.total()
        before = now
        running[name] += change
        if not running[name]:
            del running[name]
    return dict(spent)


def bearers_of(graph: Graph, ran: Collection[str]) -> dict[str, str]:
    """The operator that each kernel is named after, for those that are.

    A node that TensorFlow's optimizers put in another's place is called ``scope/NameOptimizer/stage_operator``
    (grappler/optimizers/graph_optimizer_stage.h).

    Args:
        graph: of the model.
        ran: names of the nodes whose kernels ran.
    """
    names = {each.name for each in graph.operators}
    found = {name: name for name in ran if name in names}
    replaced: defaultdict[str, list[str]] = defaultdict(list)
    for name in names.difference(found):
        replaced[name.rpartition("/")[0]].append(name)
    for name in set(ran).difference(found):
        parts = name.split("/")
        optimizers = [place for place, part in enumerate(parts) if part.endswith("Optimizer")]
        if optimizers:
            scope = "/".join(parts[: optimizers[0]])
            meant = [each for each in replaced[scope] if parts[-1].endswith(f"_{each.rpartition('/')[2]}")]
            if meant:
                found[name] = max(meant, key=len)
    return found


def kernels_of(graph: Graph, bearers: Mapping[str, str]) -> dict[str, str | None]:
    """By each operator, the one whose kernel does its work; None where TensorFlow runs nothing for it.

    An operator without a kernel of its own was

    - computed already by another of the same kind from the same inputs, or else
    - done by the kernel that alone takes what it makes, be it through others without one: an activation's kernel
      convolves, multiplies and adds; or else
    - not run: an input, or what TensorFlow computed beforehand or left out.

    Args:
        graph: of the model.
        bearers: see `bearers_of`.
    """
    own = set(bearers.values())
    fed = {name.rpartition(":")[0] for name in graph.inputs}
    twins = {_signature(each): each.name for each in graph.operators if each.name in own}
    takers: defaultdict[str, set[str]] = defaultdict(set)
    found: dict[str, str | None] = {}
    for operator in reversed(graph.operators):
        name = operator.name
        if name in own:
            found[name] = name
        elif name in fed:
            found[name] = None
        else:
            behind = {found[each] for each in takers[name]}
            found[name] = twins.get(_signature(operator)) or (behind.pop() if len(behind) == 1 else None)
        for tensor in operator.inputs:
            takers[tensor.rpartition(":")[0]].add(name)
    return found


def _signature(operator: Operator) -> object:
    made = tuple((tensor.dtype, tensor.shape) for tensor in operator.outputs)
    return operator.kind, operator.inputs, operator.constants, operator.control_inputs, made
