"""One search's campaign, which processes go on with one after the other, each to its end or until it is killed."""

from __future__ import annotations

import signal
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from benchmarks.slicer.workers import BenchmarkError

from slicebed.run.store import Campaign

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

DEPLOYING: Final = frozenset({"campaign_created", "playbook", "run_complete"})
"""What the journal says before hosts are asked for anything."""
_TIMEOUT_S: Final = 900.0
# It puts back what it set of the hosts.
_ENDING_S: Final = 90.0
_POLL_S: Final = 0.05


@dataclass(frozen=True)
class Moment:
    """When a process is killed.

    Attributes:
        after_s: how long it had run; with `at_hosts`, how long ago it first did something with the deployed hosts.
        at_hosts: which of the two.
    """

    after_s: float
    at_hosts: bool = False


@dataclass(frozen=True)
class Running:
    """One search's campaign, which processes go on with one after the other.

    Attributes:
        command: without ``--results`` and ``--resume``.
        results: its folder.
    """

    command: Sequence[str]
    results: Path

    @property
    def log(self) -> Path:
        """What all its processes said."""
        return self.results / "log.txt"

    @property
    def campaign(self) -> Campaign | None:
        """Its campaign; None before there is one."""
        found = [path.parent for path in self.results.glob("*/campaign.json")]
        if len(found) > 1:
            raise BenchmarkError(f"one search began {len(found)} campaigns; see {self.log}")
        return Campaign(found[0]) if found else None

    @property
    def whole(self) -> Campaign:
        """Its campaign, which has come to its end."""
        campaign = self.campaign
        if campaign is None or not campaign.is_complete:
            raise BenchmarkError(f"the search ended, and its campaign is not whole; see {self.log}")
        return campaign

    def go_on(self, moment: Moment | None) -> float | None:
        """Start a process, which resumes what there is, and kill it at a moment.

        Returns:
            How many seconds it had run then; None where it came to its end before.

        Raises:
            BenchmarkError: it failed, or did not end.
        """
        self.results.mkdir(parents=True, exist_ok=True)
        campaign, begin = self.campaign, time.monotonic()
        before = 0 if campaign is None else len(campaign.events())
        command = [*self.command, "--results", str(self.results), *(["--resume"] if campaign is not None else [])]
        with self._started(command) as process:
            if moment is not None and moment.at_hosts:
                self._wait_for_hosts(process, before)
            try:
                code = process.wait(_TIMEOUT_S if moment is None else moment.after_s)
            except subprocess.TimeoutExpired:
                if moment is None:
                    raise BenchmarkError(f"the search did not end in {_TIMEOUT_S:.0f} s; see {self.log}") from None
                process.kill()
                process.wait()
                return time.monotonic() - begin
        if code != 0:
            raise BenchmarkError(f"the search ended with {code}; see {self.log}")
        return None

    def _wait_for_hosts(self, process: subprocess.Popen[bytes], before: int) -> None:
        """Until it does something with the deployed hosts, or has ended."""
        deadline = time.monotonic() + _TIMEOUT_S
        while process.poll() is None:
            campaign = self.campaign
            own = () if campaign is None else campaign.events()[before:]
            if any(event["event"] not in DEPLOYING for event in own):
                return
            if time.monotonic() > deadline:
                raise BenchmarkError(f"the search used no host in {_TIMEOUT_S:.0f} s; see {self.log}")
            time.sleep(_POLL_S)

    @contextmanager
    def _started(self, command: Sequence[str]) -> Iterator[subprocess.Popen[bytes]]:
        """The process; where the block is left early it is ended as by Ctrl-C, so that it puts the hosts right."""
        with self.log.open("ab") as log:
            # In a session of its own: a Ctrl-C at the terminal would reach it twice.
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGINT)
                try:
                    process.wait(_ENDING_S)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
