"""Conditions of a whole testbed: plan, apply, drift, restore and doctor, each through its playbook."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from slicebed.errors import ProvisionError
from slicebed.spec.problems import SpecErrors
from slicebed.testbed.playbook import Playbook, PlaybookError, run_playbook
from slicebed.testbed.target import PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slicebed.testbed.playbook import Recap, Refusal, TaskError
    from slicebed.testbed.target import Asked, Target


@dataclass(frozen=True)
class Failed:
    """A host on which the act failed, and the error's one line."""

    host: str
    error: str


@dataclass(frozen=True)
class Outcome:
    """What a verb did, or in a plan would do.

    Attributes:
        changes: one row per property, with the host that carries it; the fields are those of `slicebed plan --json`.
        writes: netlink messages and file writes, by host.
        at_risk: hosts whose SSH interface is touched: the dead-man timer guards the act.
        recap: Ansible's own counts.
        failed: what failed, with its host; the other fields are then of the hosts that answered.
    """

    changes: tuple[dict[str, Any], ...]
    writes: Mapping[str, int]
    at_risk: tuple[str, ...]
    recap: Recap
    failed: tuple[Failed, ...] = ()

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, written under the conditions' name."""
        return bool(self.changes) or any(self.writes.values())


class PartlyDoneError(ProvisionError):
    """An act failed on some hosts; ``str()`` has a line for each failure, and one for the hosts where it was done."""

    def __init__(self, failures: Sequence[TaskError], outcome: Outcome, done: str) -> None:
        """Take the failures, what the hosts that answered said, and the act's name: ``put back on``."""
        super().__init__(failures[0].what, where=failures[0].where, mend=failures[0].mend)
        self.outcome = outcome
        broken = {failure.host for failure in failures}
        hosts = [host for host in sorted(outcome.writes) if host not in broken]
        self._lines = (*map(str, failures), f"{done} {', '.join(hosts) or 'no host'}")

    def __str__(self) -> str:
        """One line for each failure, one for what was done."""
        return "\n".join(self._lines)


@dataclass(frozen=True)
class Player:
    """Plays playbooks on a target's hosts and tells of the tasks."""

    target: Target
    say: Callable[[str], None] = field(default=lambda _: None)

    def plan(self, asked: Asked) -> Outcome:
        """Say what `apply` would change; Ansible's check mode, so nothing is.

        Raises:
            ProvisionError: a host cannot be reached, or cannot do what is asked; its own words.
        """
        with _named_by_file(self.target):
            return _outcome(self.play("condition.yml", asked.variables(), check=True))

    def bring_tools(self) -> None:
        """Make sure that every host has the host tools.

        Raises:
            ProvisionError: a host cannot be reached or lacks Python 3.11.
        """
        self.play("condition.yml", {}, tags="host_tools")

    def apply(self, asked: Asked, confirm_within_s: float) -> Outcome:
        """Save the original state on every host and make it as asked; the second time nothing changes.

        Raises:
            SpecErrors: a host refused what a line of the file asks, before any host was changed.
            PartlyDoneError: a host refused; what it had done of this apply is undone. The others are as asked.
        """
        variables = {**asked.variables(), "conditions_confirm_within_s": confirm_within_s}
        with _partly_done("applied on"), _named_by_file(self.target):
            return _outcome(self.play("condition.yml", variables))

    def drift(self, asked: Asked) -> Outcome:
        """Say what is no longer as it was last applied: by each host's own record, the lab's wires by what is asked.

        Raises:
            PartlyDoneError: a host cannot say; it holds what the others said.
        """
        with _partly_done("looked at"):
            return _outcome(
                self.play("inspect.yml", {"conditions_verb": "drift", "slicebed_wires": asked.wires}, check=True)
            )

    def restore(self, asked: Asked, *, check: bool = False) -> Outcome:
        """Put back every host's saved original state, exactly, and take everything off the lab's wires.

        Raises:
            PartlyDoneError: a host did not go back; the others did.
        """
        only = sorted(self.target.parts) if len(self.target.parts) < len(PARTS) else []
        with _partly_done("looked at" if check else "put back on"):
            return _outcome(self.play("restore.yml", {**asked.variables(), "conditions_only": only}, check=check))

    def doctor(self) -> dict[str, list[dict[str, Any]]]:
        """What every host can and cannot do, found by trial: by host, a row per capability."""
        recap = self.play("inspect.yml", {"conditions_verb": "doctor"}, check=True)
        return {host: list(answers[0]["capabilities"]) for host, answers in recap.answers.items()}

    def play(self, name: str, variables: Mapping[str, Any], *, check: bool = False, tags: str | None = None) -> Recap:
        """Play one playbook on the target's hosts."""
        target = self.target
        playbook = Playbook(name, target.inventory, None, variables, check=check, tags=tags)
        return run_playbook(target.checkout, playbook, lambda task: self.say(f"{name}: {task}"))


# What the file calls the keys of a host's wish; the others have the same name in both.
_FILE_KEYS = {
    "frequency_khz": "cpu_frequency",
    "min_khz": "cpu_frequency_min",
    "max_khz": "cpu_frequency_max",
    "memory_bytes": "memory",
    "uplink_bit_per_s": "uplink_rate",
}


@contextmanager
def _partly_done(done: str) -> Iterator[None]:
    """Keep what the other hosts did when one fails."""
    try:
        yield
    except PlaybookError as error:
        failures = sorted(error.failures, key=lambda failure: failure.host)
        failed = tuple(Failed(failure.host, str(failure)) for failure in failures)
        raise PartlyDoneError(failures, replace(_outcome(error.recap), failed=failed), done) from error


@contextmanager
def _named_by_file(target: Target) -> Iterator[None]:
    """Turn refusals of a plan, before anything was changed, into mistakes of the testbed file with file:line."""
    try:
        yield
    except PlaybookError as error:
        refusals = [failure.refusal for failure in error.failures if failure.refusal is not None]
        placed = [(refusal, place) for refusal in refusals if (place := _place(target, refusal)) is not None]
        # Once a host was changed it is no matter of the file alone any more.
        if len(placed) < len(error.failures) or error.recap.answers:
            raise
        raise SpecErrors(
            f"{place}: host {refusal.host}: {refusal.what}" + (f"; {refusal.mend}" if refusal.mend else "")
            for refusal, place in placed
        ) from error


def _place(target: Target, refusal: Refusal) -> str | None:
    """Give the line of the file that asked for what a host refused; None when no line did."""
    testbed, host = target.testbed, refusal.host
    if refusal.asked is not None:
        key = refusal.asked.rpartition(".")[2]
        return testbed.place_of_host(host, _FILE_KEYS.get(key, key))
    # The network part says "link PEER", or with an address "link to ADDRESS on DEVICE".
    words = (refusal.where or "").split()
    links = target.hosts[host].links if host in target.hosts else ()
    found = [link.peer for link in links if {link.peer, link.peer_address} & set(words[1:])] if "link" in words else []
    return testbed.place_of_link(host, found[0]) if found else None


def _outcome(recap: Recap) -> Outcome:
    changes: list[dict[str, Any]] = []
    writes: dict[str, int] = {}
    at_risk: list[str] = []
    for host, answers in recap.answers.items():
        changes += [{"host": host, **change} for answer in answers for change in answer["changes"]]
        writes[host] = sum(answer["writes"] for answer in answers)
        at_risk += [host] if any(answer.get("at_risk") for answer in answers) else []
    return Outcome(tuple(_sorted(changes)), writes, tuple(at_risk), recap)


def _sorted(changes: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(changes, key=lambda row: (row["host"], row["part"], row["where"]))
