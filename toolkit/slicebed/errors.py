"""Errors of the control machine, with the exit code of each; docs/cli.md is checked against this file."""

from __future__ import annotations

from slicebed_agent.errors import OneLineError


class SlicebedError(OneLineError):
    """Root of everything Slicebed raises on purpose; the command line prints it as one line."""

    exit_code = 1


class SpecError(SlicebedError):
    """An input file or an argument is wrong; no host was touched."""

    exit_code = 2


class MissingRequirementError(SlicebedError):
    """This machine lacks something: root, a package, a kernel feature. Nothing was created."""

    exit_code = 3


class ConflictError(SlicebedError):
    """Something else holds what is needed: an address range, another lab, a lock. Nothing was created."""

    exit_code = 4


class ProvisionError(SlicebedError):
    """A playbook or an SSH connection failed on a host."""

    exit_code = 5


class VerdictError(SlicebedError):
    """What was measured is not what was asked."""

    exit_code = 6


class RunError(SlicebedError):
    """A run failed: an agent died, a link broke, the frames do not add up, or this machine cannot keep what it gave."""

    exit_code = 7


class InterruptedRunError(SlicebedError):
    """Stopped by the user (Ctrl-C); what was measured so far is kept."""

    exit_code = 130
