"""The conditions of this host as a whole: plan, apply, drift and restore over all parts, from one saved state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from slicebed_agent.errors import HostError
from slicebed_agent.host.deadman import DeadMan
from slicebed_agent.host.state import State
from slicebed_agent.host.wish import parse_wish

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from slicebed_agent.host.change import Change, Part, PartPlan

# Cores come online before their limits are written; links come last, so that what fails earlier leaves them alone.
ORDER = ("cpu", "workload", "network")
LIMITS = ("cpu", "workload")
"""The parts that are the host's own; a loan is of these alone: links are set anew by whoever comes next."""
CONFIRM_WITHIN_S = 30.0


@dataclass(frozen=True)
class Outcome:
    """What an act did, or in a plan would do.

    Attributes:
        changes: every property that was not as wanted.
        writes: netlink messages and file writes.
        at_risk: the act touches the interface that carries SSH.
        token: what `confirm` takes; None when no timer runs.
    """

    changes: tuple[Change, ...] = ()
    writes: int = 0
    at_risk: bool = False
    token: str | None = None

    def to_plain(self) -> dict[str, Any]:
        """As JSON carries it."""
        return {
            "changes": [change.to_plain() for change in self.changes],
            "writes": self.writes,
            "at_risk": self.at_risk,
            "token": self.token,
        }


@dataclass(frozen=True)
class Connection:
    """How the caller reaches this host: the SSH connection's own name and the interfaces that carry it."""

    name: str = ""
    devices: frozenset[str] = frozenset()


class Conditions:
    """Conditions of one host."""

    def __init__(
        self,
        parts: Mapping[str, Part],
        state: State | None = None,
        dead_man: DeadMan | None = None,
        connection: Connection | None = None,
    ) -> None:
        """Take the parts by name.

        Args:
            parts: the kinds of condition, by name.
            state: the saved state; default: this host's own.
            dead_man: the timer; default: this host's own.
            connection: how the caller reaches this host; default: not over SSH.
        """
        self._parts = parts
        self._state = state or State()
        self._dead_man = dead_man or DeadMan()
        self._connection = connection or Connection()

    def plan(self, plain: object) -> Outcome:
        """Say what `apply` of this wish would change; changes nothing.

        Raises:
            HostError: the wish cannot be fulfilled here, and why.
        """
        with self._state.locked():
            return self._outcome(self._plans(self._wished(plain)))

    def apply(
        self, plain: object, *, confirm_within_s: float = CONFIRM_WITHIN_S, on_loan_to: str | None = None
    ) -> Outcome:
        """Save the original state of what the wish touches, make it so, and read it back.

        On loan to somebody, limits hold until `put_back`; without, they stay, also where they were on loan before.

        When an interface that carries SSH is touched, the dead-man timer runs from before the first change; the caller
        confirms with the outcome's token over a fresh connection.

        Raises:
            HostError: the wish cannot be fulfilled (nothing was changed), or the kernel refused a step (what this call
                had done was undone).
        """
        with self._state.locked():
            wished = self._wished(plain)
            plans = self._plans(wished)
            outcome = self._outcome(plans)
            # A timer that nobody has confirmed yet would take this apply back as well: it begins anew.
            guarded = outcome.at_risk or self._dead_man.is_running()
            before: dict[str, dict[str, Any]] = {}
            if outcome.writes:
                before = {
                    name: self._parts[name].save(wish, also=self._stale(name, wish)) for name, wish in wished.items()
                }
                self._state.keep_original(before)
            remembered = isinstance(plain, dict) and bool(self._state.original())
            limits = [name for name in wished if name in LIMITS]
            if remembered and on_loan_to is not None:
                # On disk before the first change, as the original is.
                self._state.lend(on_loan_to, limits)
            token = (
                self._dead_man.arm(confirm_within_s, self._connection.name, self._state.directory) if guarded else None
            )
            if outcome.writes:
                self._make_so(plans, wished, before)
            if isinstance(plain, dict) and remembered:
                self._state.keep_wish({name: plain[name] for name in ("host", *wished)})
                if limits and on_loan_to is None:
                    self._state.end_loan(limits)
        return Outcome(outcome.changes, outcome.writes, guarded, token)

    def confirm(self, token: str) -> None:
        """Stop the dead-man timer; raises HostError when it has run out or this is the connection that armed it."""
        self._dead_man.confirm(token, self._connection.name)

    def drift(self) -> Outcome:
        """Say what is no longer as it was last applied.

        Raises:
            HostError: what was applied can no longer be had here, and why.
        """
        with self._state.locked():
            wished = self._state.wish()
            return self._outcome(self._plans(self._wished(wished)) if wished else ())

    def restore(self, only: Iterable[str] | None = None, *, check: bool = False) -> Outcome:
        """Put back the original state, exactly; safe to repeat, and after a crash.

        Args:
            only: the parts to restore; default: all.
            check: say what would change, and change nothing.

        Raises:
            HostError: something would not go back; what is left is still saved, and restoring again goes on.
        """
        with self._state.locked():
            original = self._state.original()
            names = [name for name in reversed(ORDER) if name in original and (only is None or name in set(only))]
            if only is None and not check:
                self._dead_man.disarm()
            done: list[PartPlan] = []
            failures: list[HostError] = []
            for name in names:
                try:
                    done.append(self._restore_part(name, original[name], check=check))
                except HostError as error:
                    # The other parts go back all the same; this one stays saved.
                    failures.append(error)
            if failures:
                raise failures[0]
            if not check:
                self._state.clear_when_unchanged()
            return self._outcome(done)

    def put_back(self) -> Outcome:
        """Make what is on loan as it was before: as it was wished then, else as it was originally; safe to repeat.

        Raises:
            HostError: something would not go back; it is still on loan, and putting back again goes on.
        """
        with self._state.locked():
            before = self._state.loan().get("before", {})
            wished = {part: wish for part, wish in before.items() if wish is not None}
            name = self._state.wish().get("host")
        done = [self.apply({"host": name, **wished})] if wished else []
        done.append(self.restore([part for part in before if part not in wished]))
        with self._state.locked():
            # What an apply that was refused had on loan was never changed.
            self._state.end_loan(before)
        return Outcome(
            changes=tuple(change for each in done for change in each.changes),
            writes=sum(each.writes for each in done),
            at_risk=any(each.at_risk for each in done),
            token=done[0].token,
        )

    def _restore_part(self, name: str, saved: Mapping[str, Any], *, check: bool) -> PartPlan:
        part = self._parts[name]
        plan = part.plan_restore(saved)
        if check:
            return plan
        part.apply(plan)
        left = part.plan_restore(saved)
        if left.steps:
            raise HostError(
                f"not as it was before: {'; '.join(map(str, left.changes))}", where=name, mend="restore again"
            )
        self._state.forget_original(name)
        return plan

    def summary(self) -> dict[str, Any]:
        """What this host remembers: the parts that are changed, the wish, the base round trips."""
        return {
            "changed_parts": sorted(self._state.original()),
            "wish": self._state.wish(),
            "base_rtt_us": self._state.base_rtt_us(),
        }

    def _wished(self, plain: object) -> dict[str, Any]:
        wish = parse_wish(plain)
        known = self._state.wish().get("host", wish.host)
        if known != wish.host:
            raise HostError(
                f"this machine's conditions were applied under the name {known}, not {wish.host}",
                mend=f"restore it first, or call it {known} in the inventory",
            )
        wished = wish.parts()
        return {name: wished[name] for name in ORDER if name in wished}

    def _plans(self, wished: Mapping[str, Any]) -> tuple[PartPlan, ...]:
        return tuple(plan for name, wish in wished.items() for plan in self._plan_part(name, wish))

    def _plan_part(self, name: str, wish: Any) -> Iterable[PartPlan]:
        # What an earlier wish changed and this one no longer speaks of goes back to what it was.
        stale = self._stale(name, wish)
        part = self._parts[name]
        return (part.plan_restore(stale), part.plan(wish, stale)) if stale else (part.plan(wish),)

    def _stale(self, name: str, wish: Any) -> dict[str, Any]:
        kept = self._state.original().get(name, {})
        spoken = self._parts[name].names(wish) if kept else ()
        return {key: value for key, value in kept.items() if key not in spoken}

    def _outcome(self, plans: Iterable[PartPlan]) -> Outcome:
        every = tuple(plans)
        devices = frozenset().union(*(plan.devices for plan in every)) if every else frozenset()
        return Outcome(
            changes=tuple(change for plan in every for change in plan.changes),
            writes=sum(len(plan.steps) for plan in every),
            at_risk=bool(devices & self._connection.devices),
        )

    def _make_so(
        self, plans: Sequence[PartPlan], wished: Mapping[str, Any], before: Mapping[str, Mapping[str, Any]]
    ) -> None:
        """Apply, look again, and undo everything that this call did when any of it fails."""
        done: dict[str, None] = {}
        try:
            self._apply_all(plans, done)
            again = self._plans(wished)
            if any(plan.steps for plan in again):
                # What a core or a boost that came back brought along is seen only now.
                self._apply_all(again, done)
                again = self._plans(wished)
            left = [change for plan in again for change in plan.changes]
            if left:
                raise HostError(f"the host did not take: {'; '.join(map(str, left))}", mend="ask for what it can hold")  # noqa: TRY301 - undone like any refusal
        except HostError as error:
            self._undo(reversed(done), before, error)
            # Only now: where the undoing failed, the timer is still there to restore.
            self._dead_man.disarm()
            raise

    def _apply_all(self, plans: Sequence[PartPlan], done: dict[str, None]) -> None:
        for plan in plans:
            if plan.steps:
                # A part that refuses has undone its own steps of this plan.
                self._parts[plan.part].apply(plan)
                done[plan.part] = None

    def _undo(self, names: Iterable[str], before: Mapping[str, Mapping[str, Any]], cause: HostError) -> None:
        """Go back to what the last apply that succeeded had made; a part without one, to what this call found."""
        earlier = self._state.wish()
        wished = self._wished(earlier) if earlier else {}
        failures: list[HostError] = []
        for name in names:
            try:
                if name in wished:
                    self._go_to(name, wished[name])
                else:
                    self._parts[name].apply(self._parts[name].plan_restore(before[name]))
            except HostError as error:
                # The other parts go back all the same.
                failures.append(error)
        if failures:
            raise HostError(
                f"{cause}; and going back failed: {'; '.join(map(str, failures))}", mend="restore this host"
            ) from cause

    def _go_to(self, name: str, wish: Any) -> None:
        # Twice at most, as in `_make_so`: what the earlier wish does not speak of may be seen only once ours is off it.
        for _ in range(2):
            plans = [plan for plan in self._plan_part(name, wish) if plan.steps]
            for plan in plans:
                self._parts[name].apply(plan)
            if not plans:
                return
