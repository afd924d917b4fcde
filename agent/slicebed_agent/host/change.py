"""What every part of a host's conditions has in common: a plan of changes, applied as a whole or not at all."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

Value = str | int | float | bool | None


@dataclass(frozen=True)
class Change:
    """One property that is not as wanted; stable, as ``slicebed plan --json`` prints it.

    Attributes:
        part: ``network``, ``cpu`` or ``workload``.
        where: what carries the property: ``link edge (to-edge, 10.198.0.2)``, ``policy0``, ``cpu3``, ``cgroup``.
        what: the property with its unit: ``delay_us``, ``rate_bit_per_s``, ``scaling_max_freq_khz``, ``online``.
        now: the value found; None where there is none.
        wanted: the value that will be there; None where the property goes.
    """

    part: str
    where: str
    what: str
    now: Value
    wanted: Value

    def __str__(self) -> str:
        """As a line of a diff: ``link edge (to-edge, 10.198.0.2): delay_us 0 -> 3840``."""
        return f"{self.where}: {self.what} {_shown(self.now)} -> {_shown(self.wanted)}"

    def to_plain(self) -> dict[str, Value]:
        """As JSON holds it."""
        return asdict(self)


@dataclass(frozen=True)
class PartPlan:
    """What one part would do.

    Attributes:
        part: its name.
        changes: what a reader sees; empty exactly when `steps` is.
        steps: what `Part.apply` does, in order; their type is the part's own.
        devices: the network interfaces that the steps touch.
    """

    part: str
    changes: tuple[Change, ...] = ()
    steps: tuple[Any, ...] = ()
    devices: frozenset[str] = frozenset()


class Part(Protocol):
    """One kind of condition on this machine. Planning reads; only `apply` writes."""

    name: str

    def plan(self, wish: Any, apart: Collection[str] = ()) -> PartPlan:
        """Say what would make the machine as wished; raises HostError when it cannot be, before anything changes.

        Args:
            wish: the part of a host's wish that is this part's.
            apart: names saved under an earlier wish, of which this one does not speak: `plan_restore` sees to them.
        """
        ...

    def names(self, wish: Any) -> Collection[str]:
        """Say what the wish speaks of, by the names that `save` uses."""
        ...

    def save(self, wish: Any, also: Iterable[str] = ()) -> dict[str, Any]:
        """Give the present value of everything that `plan(wish)` may change, as JSON, by the thing's own name.

        The first value saved under a name is the original one, and stays until it is restored.

        Args:
            wish: the part of a host's wish that is this part's.
            also: names saved under an earlier wish, whose present values are wanted as well.
        """
        ...

    def apply(self, plan: PartPlan) -> None:
        """Do the steps in order; the first refusal undoes those of this call and raises HostError."""
        ...

    def plan_restore(self, saved: Mapping[str, Any]) -> PartPlan:
        """Say what would put back, exactly, what `save` gave."""
        ...


def _shown(value: Value) -> str:
    return "-" if value is None else str(value)
