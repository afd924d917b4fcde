"""Conditions of a whole testbed: plan, apply, drift, restore and doctor, each through its playbook."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed.testbed.playbook import Playbook, run_playbook
from slicebed.testbed.target import PARTS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from slicebed.testbed.playbook import Recap
    from slicebed.testbed.target import Asked, Target


@dataclass(frozen=True)
class Outcome:
    """What a verb did, or in a plan would do.

    Attributes:
        changes: one row per property, with the host that carries it; the fields are those of `slicebed plan --json`.
        writes: netlink messages and file writes, by host.
        at_risk: hosts whose SSH interface is touched: the dead-man timer guards the act.
        recap: Ansible's own counts.
    """

    changes: tuple[dict[str, Any], ...]
    writes: Mapping[str, int]
    at_risk: tuple[str, ...]
    recap: Recap

    @property
    def changed(self) -> bool:
        """Whether anything was, or would be, written under the conditions' name."""
        return bool(self.changes) or any(self.writes.values())


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
            ProvisionError: a host refused; what it had done of this apply is undone.
        """
        return _outcome(
            self.play("condition.yml", {**asked.variables(), "conditions_confirm_within_s": confirm_within_s})
        )

    def drift(self) -> Outcome:
        """Say what is no longer as it was last applied."""
        return _outcome(self.play("inspect.yml", {"conditions_verb": "drift"}, check=True))

    def restore(self, asked: Asked, *, check: bool = False) -> Outcome:
        """Put back every host's saved original state, exactly, and take everything off the lab's wires."""
        only = sorted(self.target.parts) if len(self.target.parts) < len(PARTS) else []
        return _outcome(self.play("restore.yml", {**asked.variables(), "conditions_only": only}, check=check))

    def doctor(self) -> dict[str, list[dict[str, Any]]]:
        """What every host can and cannot do, found by trial: by host, a row per capability."""
        recap = self.play("inspect.yml", {"conditions_verb": "doctor"}, check=True)
        return {host: list(answers[0]["capabilities"]) for host, answers in recap.answers.items()}

    def play(self, name: str, variables: Mapping[str, Any], *, check: bool = False, tags: str | None = None) -> Recap:
        """Play one playbook on the target's hosts."""
        target = self.target
        with tempfile.TemporaryDirectory(prefix="slicebed-ansible-") as folder:
            playbook = Playbook(name, target.inventory, Path(folder), variables, check=check, tags=tags)
            return run_playbook(target.checkout, playbook, lambda task: self.say(f"{name}: {task}"))


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
