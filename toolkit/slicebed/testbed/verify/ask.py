"""What verification is told: the links with what was asked of them, and a way to speak to each host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from slicebed_agent.host.wish import LinkCondition


class Channel(Protocol):
    """A held connection to one host."""

    def call(self, verb: str, request: dict[str, Any], timeout_s: float) -> dict[str, Any]:
        """Have the host do `verb` and give its answer; called from several threads at once.

        Raises:
            SlicebedError: the host refused, did not answer in time, or cannot be reached.
        """
        ...


@dataclass(frozen=True)
class LinkAsk:
    """One link and what was asked of it.

    Attributes:
        a: its first host.
        b: its second host.
        address_a: the first host's address on the link.
        address_b: the second host's.
        forward: what packets from `a` to `b` meet.
        backward: what packets from `b` to `a` meet.
        rtt_us: the mean round trip asked for; None when none was.
        rtt_jitter_us: its standard deviation.
        wire: what delays the packets: ``netem`` or ``tap``.
        interface_a: the first host's interface on the link; None counts every link of the host as sharing one.
        interface_b: the second host's.
    """

    a: str
    b: str
    address_a: str
    address_b: str
    forward: LinkCondition
    backward: LinkCondition
    rtt_us: int | None
    rtt_jitter_us: int = 0
    wire: str = "netem"
    interface_a: str | None = None
    interface_b: str | None = None

    @property
    def name(self) -> str:
        """As verdicts name it."""
        return f"{self.a} -> {self.b}"

    @property
    def reverse_name(self) -> str:
        """As verdicts name the way back."""
        return f"{self.b} -> {self.a}"

    def directions(self) -> tuple[tuple[str, LinkCondition], tuple[str, LinkCondition]]:
        """Both directed links by name."""
        return (self.name, self.forward), (self.reverse_name, self.backward)

    @property
    def is_severed(self) -> bool:
        """True when every packet of a direction is to be lost, so that no round trip can be."""
        return self.forward.loss >= 1 or self.backward.loss >= 1
