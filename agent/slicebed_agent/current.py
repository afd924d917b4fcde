"""The run that an agent is at, with what it holds open, and how its cut is changed while it goes on."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Final

from slicebed_agent import config
from slicebed_agent.errors import AgentError

if TYPE_CHECKING:
    import contextlib

    from slicebed_agent.config import Assignment
    from slicebed_agent.model.held import HeldSlice, Versions
    from slicebed_agent.pipeline.contracts import Ending
    from slicebed_agent.pipeline.run import Run
    from slicebed_agent.rpc.v1 import agent_pb2

_LOG = logging.getLogger(__name__)
_PASSED_S: Final = 5.0


class WrongTimeError(AgentError):
    """The run is not at the point where this could be done."""


class Current:
    """A run, its slices in every version, and what its camera shows. One thread at a time may change it."""

    def __init__(self, run: Run, assignment: Assignment, versions: Versions, open_until: contextlib.ExitStack) -> None:
        """Take them over."""
        self.run, self.assignment, self.versions, self._open = run, assignment, versions, open_until
        self._switched = assignment.plan.version
        self._prepared = {self._switched}

    def end(self, drain_s: float, reason: str, refusal: Ending | None = None) -> None:
        """End the run, if it has not ended yet; its slices stay ready."""
        self.run.close(drain_s, reason, refusal)
        self._open.close()

    def prepare_cut(self, message: agent_pb2.CutConfig) -> dict[str, HeldSlice]:
        """Make the slices of another version ready beside those in use.

        Raises:
            AgentConfigError: a field is wrong, or there is no such slice.
            AgentError: TensorFlow refuses one.
            WrongTimeError: the run is over.
        """
        self._check_goes_on()
        version = message.version
        cuts = config.cuts(message, self.assignment.kinds, max(self._prepared))
        made = self.versions.add(version, cuts, self.assignment.warm_batch, live=True)
        self._prepared.add(version)
        self._note(version, "prepared")
        return made

    def switch_cut(self, version: int) -> int:
        """Let frames go through a prepared version from now on; the number of the first one.

        Raises:
            AgentError: this is not the first agent.
            WrongTimeError: the run is over, or the version is not the newest prepared one.
        """
        self._check_goes_on()
        known = version in self._prepared or not self.assignment.cuts
        if version <= self._switched or not known:
            raise self._wrong_time(f"cannot switch to version {version}: in use is {self._switched}")
        first = self.run.switch(version)
        self._switched = version
        self._prepared.add(version)
        _LOG.info("run %s: version %d of the cut from frame %d on", self.run.plan.run_id, version, first)
        return first

    def release_cut(self, version: int, *, abandoned: bool) -> None:
        """Let go of the earlier versions, or of an abandoned one.

        Raises:
            WrongTimeError: frames of them are under way, or the version is in use, or is not.
        """
        if abandoned:
            if version <= self._switched and self.run.is_first:
                raise self._wrong_time(f"version {version} of the cut is in use, it cannot be abandoned")
            self.versions.release(version)
        else:
            if version > self._switched and self.run.is_first:
                raise self._wrong_time(f"version {version} of the cut was not switched to; abandon it instead")
            if not self.run.over and not self.run.wait_passed(version, _PASSED_S):
                raise self._wrong_time(f"frames of versions before {version} are under way")
            self.versions.release_before(version)
        self._note(version, "abandoned" if abandoned else "released")

    def _check_goes_on(self) -> None:
        if self.run.over:
            raise self._wrong_time("the run is over")

    def _wrong_time(self, what: str) -> WrongTimeError:
        return WrongTimeError(what, where=f"{self.run.plan.host}: run {self.run.plan.run_id}")

    def _note(self, version: int, event: str) -> None:
        self.run.note({"kind": "cut", "version": version, "at_ns": time.monotonic_ns(), "event": event})
