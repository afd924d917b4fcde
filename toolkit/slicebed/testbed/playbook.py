"""Runs a playbook through ansible-runner and turns what failed into one line that names host and task."""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import tempfile
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from slicebed.errors import MissingRequirementError, ProvisionError
from slicebed.leftovers import own_name, remove_left
from slicebed.testbed.commands import require_tool
from slicebed.testbed.host_tools import build_host_tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from slicebed.testbed.checkout import Checkout

_RECORDS = "slicebed-ansible-"
_UNREACHABLE = "runner_on_unreachable"
_FAILURES = {"runner_on_failed": "failed", _UNREACHABLE: "unreachable"}
# What ssh says beside the reason, which it says last.
_SSH_NOISE = re.compile(r"@|debug\d|OpenSSH_|Warning: Permanently added", re.IGNORECASE)
_BEFORE_SSH = re.compile(r".*?\b(?:via|over) ssh: *", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Recap:
    """Ansible's count per host, what `PLAY RECAP` says; and by host what the host tools answered."""

    ok: Mapping[str, int] = field(default_factory=dict)
    changed: Mapping[str, int] = field(default_factory=dict)
    answers: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    @property
    def total_changed(self) -> int:
        """Changed tasks over all hosts; 0 on the second run of any playbook here."""
        return sum(self.changed.values())


@dataclass(frozen=True)
class Playbook:
    """One call of ansible-playbook.

    Attributes:
        name: of the file below playbooks/.
        inventory: file of the hosts.
        artifacts: where ansible-runner's record stays; None keeps none.
    """

    name: str
    inventory: Path
    artifacts: Path | None = None
    variables: Mapping[str, Any] = field(default_factory=dict)
    check: bool = False
    tags: str | None = None


def run_playbook(checkout: Checkout, playbook: Playbook, say: Callable[[str], None]) -> Recap:
    """Run the playbook to its end.

    Args:
        checkout: where playbooks and roles are.
        playbook: what to run.
        say: told the name of each task as it starts.

    Raises:
        MissingRequirementError: the inventory does not exist, or a tool.
        PlaybookError: a task failed or a host could not be reached; what the other hosts answered is in its `recap`.
        ProvisionError: ansible-playbook itself failed.
        KeyboardInterrupt: Ctrl-C or SIGTERM; ansible-playbook was ended.
    """
    if not playbook.inventory.is_file():
        raise MissingRequirementError(
            "no such inventory", where=str(playbook.inventory), mend="run: slicebed lab up, or write one by hand"
        )
    require_tool("setpriv", "util-linux")
    build_host_tools(checkout)
    heard = _Heard(say)
    with _record_folder(playbook.artifacts) as folder, _own_signal_handlers():
        runner = _run(checkout, playbook, folder, heard)
        return _recap(playbook, runner, heard)


def _run(checkout: Checkout, playbook: Playbook, folder: Path, heard: _Heard) -> Any:
    import ansible_runner  # noqa: PLC0415 - takes half a second, which `slicebed --help` need not wait for

    flags = ["--check", "--diff"] if playbook.check else []
    return ansible_runner.run(
        private_data_dir=str(folder),
        project_dir=str(checkout.playbooks),
        playbook=str(checkout.playbooks / playbook.name),
        inventory=str(playbook.inventory.resolve()),
        extravars=dict(playbook.variables),
        cmdline=" ".join(flags) or None,
        tags=playbook.tags,
        envvars={
            "ANSIBLE_CONFIG": str(checkout.root / "ansible.cfg"),
            "ANSIBLE_ROLES_PATH": str(checkout.root / "roles"),
            # The tools of the very environment that runs Slicebed, whatever the shell's PATH holds; before them what
            # lets Ansible end with this process.
            "PATH": os.pathsep.join(
                (str(checkout.playbooks / "bin"), str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath))
            ),
        },
        event_handler=heard.on_event,
        quiet=True,
    )


def _recap(playbook: Playbook, runner: Any, heard: _Heard) -> Recap:
    if runner.status == "canceled":
        raise KeyboardInterrupt
    stats = runner.stats or {}
    recap = Recap(ok=stats.get("ok", {}), changed=stats.get("changed", {}), answers=heard.answers)
    if heard.failures:
        raise PlaybookError(heard.failures, recap)
    if runner.rc != 0 or runner.status != "successful":
        raise ProvisionError(
            f"ended {runner.status} with exit code {runner.rc}: {_last_line(runner)}",
            where=playbook.name,
            mend=None if playbook.artifacts is None else f"see {playbook.artifacts}",
        )
    return recap


@contextmanager
def _record_folder(wanted: Path | None) -> Iterator[Path]:
    """The wanted folder, or one that is removed again; those that killed processes have left are removed as well."""
    if wanted is not None:
        wanted.mkdir(parents=True, exist_ok=True)
        yield wanted
        return
    temporary = Path(tempfile.gettempdir())
    remove_left(temporary, _RECORDS)
    folder = temporary / own_name(_RECORDS)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@dataclass(frozen=True)
class Refusal:
    """What a host's own tools refused: ``asked`` is the key of the host's wish, where there is one."""

    host: str
    what: str
    where: str | None
    mend: str | None
    asked: str | None


class TaskError(ProvisionError):
    """A task failed on a host."""

    def __init__(
        self, what: str, *, host: str, where: str, mend: str | None = None, refusal: Refusal | None = None
    ) -> None:
        """Keep the host's name, and the host tools' own words where the task was theirs."""
        super().__init__(what, where=where, mend=mend)
        self.host = host
        self.refusal = refusal


class PlaybookError(ProvisionError):
    """Tasks failed on one or more hosts; ``str()`` has a line for each."""

    def __init__(self, failures: Sequence[TaskError], recap: Recap) -> None:
        """Keep every failure (there is at least one), and what was done and answered all the same."""
        self.failures = tuple(failures)
        self.recap = recap
        super().__init__(failures[0].what, where=failures[0].where, mend=failures[0].mend)

    def __str__(self) -> str:
        """One line for each host's failure."""
        return "\n".join(str(failure) for failure in self.failures)


class _Heard:
    """What ansible-runner's events said: each task's name goes on at once, failures and answers are kept."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.failures: list[TaskError] = []
        self.answers: dict[str, list[Mapping[str, Any]]] = {}

    def on_event(self, event: dict[str, Any]) -> bool:
        """Take one event; True lets ansible-runner keep it."""
        data = event.get("event_data", {})
        if event["event"] == "playbook_on_task_start":
            self._say(str(data.get("task", "")))
        elif event["event"] in _FAILURES and not data.get("ignore_errors"):
            self.failures.append(_describe(event["event"], data))
        elif event["event"] == "runner_on_ok":
            result = data.get("res") or {}
            # A task with a loop has one result for each turn.
            for each in result.get("results", [result]):
                if isinstance(each, dict) and "slicebed" in each:
                    self.answers.setdefault(str(data["host"]), []).append(each["slicebed"])
        return True


@contextmanager
def _own_signal_handlers() -> Iterator[None]:
    """Put back this process's handlers afterwards: ansible-runner replaces them by its own and leaves those behind."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _describe(event: str, data: dict[str, Any]) -> TaskError:
    result = data.get("res") or {}
    host = str(data.get("host"))
    where = f"host {host}, {data.get('task')}"
    said = result.get("refusal")
    if isinstance(said, dict):
        refusal = Refusal(host, said["what"], said["where"], said["mend"], said["asked"])
        text = ": ".join(filter(None, (refusal.where, refusal.what)))
        return TaskError(text + (f"; {refusal.mend}" if refusal.mend else ""), host=host, where=where, refusal=refusal)
    text = str(result.get("msg") or result.get("stderr") or result.get("stdout") or "no message")
    if event == _UNREACHABLE:
        return TaskError(
            f"unreachable: {_reason(text)}",
            host=host,
            where=where,
            mend="check that the host is up and that ssh reaches it with the inventory's address, key and known_hosts",
        )
    stderr = result.get("stderr")
    if stderr and stderr not in text:
        text = f"{text}: {stderr}"
    return TaskError(f"{_FAILURES[event]}: {text.strip()}", host=host, where=where)


def _reason(said: str) -> str:
    """Give the one line of what ssh said that names the reason."""
    lines = [line.strip() for line in _BEFORE_SSH.sub("", said, count=1).splitlines()]
    telling = [line for line in lines if line and not _SSH_NOISE.match(line)]
    return telling[-1] if telling else "ssh gave no reason"


def _last_line(runner: Any) -> str:
    lines = [line.strip() for line in runner.stdout if line.strip()]
    return lines[-1] if lines else "it said nothing"
