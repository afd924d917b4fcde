"""The ssh command that opens a lab host."""

from __future__ import annotations

from slicebed.errors import ConflictError, MissingRequirementError
from slicebed.lab import paths
from slicebed.lab.inventory import SSH_OPTIONS
from slicebed.lab.state import read_state
from slicebed.lab.tools import find_program


def ssh_arguments(host: str, command: str = "") -> list[str]:
    """The whole command line: the lab's key and known hosts, and nothing of the user's own ssh configuration.

    Raises:
        ConflictError: no lab is up.
        SpecError: there is no such host.
        MissingRequirementError: there is no ssh.
    """
    state = read_state()
    if state is None:
        raise ConflictError("no lab is up", mend="run slicebed lab up")
    address = state.plan.host(host).management.ip
    program = find_program("ssh")
    if program is None:
        raise MissingRequirementError("missing: ssh", mend="run apt-get install openssh-client")
    key = ["-F", "none", "-i", str(paths.IDENTITY_FILE), "-o", "LogLevel=ERROR"]
    return [program, *key, *" ".join(SSH_OPTIONS).split(), f"root@{address}", *([command] if command else [])]
