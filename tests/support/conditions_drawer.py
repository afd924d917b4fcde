"""A part of a host's conditions whose machine is a dictionary."""

from __future__ import annotations

from dataclasses import dataclass, field

from slicebed_agent.errors import HostError
from slicebed_agent.host.change import Change, PartPlan


@dataclass
class Drawer:
    """A part whose machine is a dictionary: a wish says what its entries shall hold."""

    name: str
    device: str
    machine: dict[str, object] = field(default_factory=dict)
    refuses: object = None
    forgets: str | None = None
    order: list[str] = field(default_factory=list)

    def plan(self, wish, apart=()):
        return self._plan({key: value for key, value in _entries(wish).items() if key not in apart})

    def names(self, wish):
        return set(_entries(wish))

    def save(self, wish, also=()):
        return {key: self.machine.get(key) for key in {*_entries(wish), *also}}

    def plan_restore(self, saved):
        return self._plan(saved)

    def _plan(self, wanted):
        changes = tuple(
            Change(self.name, key, "value", self.machine.get(key), value)
            for key, value in sorted(wanted.items())
            if self.machine.get(key) != value
        )
        steps = tuple((change.where, change.wanted) for change in changes)
        return PartPlan(self.name, changes, steps, frozenset({self.device} if steps else ()))

    def apply(self, plan):
        before = dict(self.machine)
        self.order.append(self.name)
        for key, value in plan.steps:
            if value is not None and value == self.refuses:
                self.machine.clear()
                self.machine.update(before)
                raise HostError(f"refused {value}", where=key)
            if key == self.forgets:
                continue
            if value is None:
                self.machine.pop(key, None)
            else:
                self.machine[key] = value


def _entries(wish):
    # Whatever kind of wish it is, its fields that are set.
    return {key: value for key, value in vars(wish).items() if value not in (None, (), False)}
