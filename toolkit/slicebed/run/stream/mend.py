"""When an agent of a stream is to be started again, and when to give up; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from slicebed.run.said import reason_of
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed.run.stream.figures import Look

SILENCE_S: Final = 4.0
"""An agent that does not answer for this long is taken for dead."""
MOST_IN_A_ROW: Final = 5
"""So many failures, one soon after the other, end the stream."""
HEALTHY_S: Final = 60.0
"""After so long without one, failures before count no more."""
LONGEST_PAUSE_S: Final = 15.0


class Mending(StrEnum):
    """What to do."""

    REJOIN = "rejoin"
    BEGIN_AGAIN = "begin again"


@dataclass(frozen=True)
class Trouble:
    """What is wrong: the host, in a line why, what helps, and the stage where an agent named one."""

    host: str
    why: str
    mending: Mending
    stage: str = ""

    @property
    def place(self) -> str:
        """Host and stage as an error line names them."""
        return f"host {self.host}, stage {self.stage}" if self.stage else f"host {self.host}"


@dataclass
class Watch:
    """Remembers who answered when.

    Attributes:
        chain: hosts, first to last; the first has the camera.
    """

    chain: Sequence[str]
    _answered_s: dict[str, float] = field(default_factory=dict)

    def trouble(self, look: Look) -> Trouble | None:
        """The first thing that is to be mended, in the order of the chain; None while all is well or may yet be.

        An agent that does not answer comes before one that failed: its neighbours fail because of it.
        """
        for host in self.chain:
            if host in look.answers:
                self._answered_s[host] = look.at_s
        for host in self.chain:
            silent_s = look.at_s - self._answered_s.setdefault(host, look.at_s)
            if host in look.strangers or (host not in look.answers and silent_s > SILENCE_S):
                why = look.troubles.get(host, "no answer")
                return Trouble(host, why, Mending.BEGIN_AGAIN if host == self.chain[0] else Mending.REJOIN)
        if len(look.answers) < len(self.chain):
            return None
        for host, answer in look.answers.items():
            if answer.phase == agent_pb2.RUN_PHASE_FAILED:
                where = answer.error_host if answer.error_host in self.chain else host
                return Trouble(where, reason_of(answer), Mending.BEGIN_AGAIN, answer.error_stage)
        return None

    def mended(self, at_s: float) -> None:
        """Everybody was there just now."""
        self._answered_s = dict.fromkeys(self.chain, at_s)


@dataclass
class Failures:
    """Counts failures that come soon after each other."""

    in_a_row: int = 0
    _last_s: float = float("-inf")

    def another(self, at_s: float) -> float:
        """Count one more; give the seconds to pause before the next attempt."""
        if at_s - self._last_s > HEALTHY_S:
            self.in_a_row = 0
        self.in_a_row += 1
        self._last_s = at_s
        return min(LONGEST_PAUSE_S, 2.0 ** (self.in_a_row - 1)) if self.in_a_row > 1 else 0.0

    @property
    def too_many(self) -> bool:
        """Whether to give up."""
        return self.in_a_row > MOST_IN_A_ROW
