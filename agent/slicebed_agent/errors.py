"""Every error says what went wrong, where, and how to mend it, in one line; each kind has one exit code."""

from __future__ import annotations

from typing import ClassVar


class OneLineError(Exception):
    """The shape shared by both packages: ``where: what; mend``."""

    exit_code: ClassVar[int] = 1

    def __init__(self, what: str, *, where: str | None = None, mend: str | None = None) -> None:
        """Keep the three parts apart, so that a caller may add where it happened.

        Args:
            what: what went wrong, with the value that was refused.
            where: file:line:column, host, link or stage.
            mend: what the reader can do about it.
        """
        super().__init__(what)
        self.what = what
        self.where = where
        self.mend = mend

    def __str__(self) -> str:
        """One line, whatever the parts held."""
        text = self.what if self.where is None else f"{self.where}: {self.what}"
        if self.mend is not None:
            text = f"{text}; {self.mend}"
        return " ".join(text.split())


class AgentError(OneLineError):
    """Root of everything an agent raises on purpose."""

    exit_code = 1


class AgentConfigError(AgentError):
    """The agent was asked for something that cannot be: an unknown model, a slice outside it, a limit of zero."""

    exit_code = 2


class PayloadError(AgentError):
    """A message from the network is malformed: wrong size, type, shape or order."""

    exit_code = 7


class HostError(AgentError):
    """The host refused a condition: a netlink message, a sysfs write, a missing kernel feature."""

    exit_code = 5

    def __init__(
        self, what: str, *, where: str | None = None, mend: str | None = None, asked: str | None = None
    ) -> None:
        """As of every error; and which key of the wish asked for it.

        Args:
            what: what went wrong, with the value that was refused.
            where: the file, device or message on this host.
            mend: what the reader can do about it.
            asked: the wish's key, ``cpu.online_cores`` or ``network.links.PEER``, so that the control machine can
                name the line of the testbed file.
        """
        super().__init__(what, where=where, mend=mend)
        self.asked = asked
