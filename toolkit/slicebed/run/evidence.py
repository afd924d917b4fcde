"""What a figure must carry to be believed: versions, source commit, and what the agents say of themselves."""

from __future__ import annotations

import platform
import subprocess
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import grpc

from slicebed import __version__
from slicebed.errors import RunError
from slicebed.testbed.target import verdict_file
from slicebed.testbed.verify.store import read_verdicts
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from pathlib import Path

    from slicebed.run.connection import HostConnection
    from slicebed.testbed.target import Asked, Target

_DESCRIBE_TIMEOUT_S = 30.0
_TOOLS = ("ansible-core", "ansible-runner", "fabric", "grpcio", "pandas", "paramiko", "pyroute2")


def source_version(root: Path) -> dict[str, Any]:
    """Give commit and cleanness of the checkout; both None where it is not a git work tree."""

    def git(*words: str) -> str | None:
        done = subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=False)
        return done.stdout.strip() if done.returncode == 0 else None

    changes = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "clean": None if changes is None else not changes}


def tool_versions() -> dict[str, str]:
    """Give the versions of Slicebed, Python, the kernel and the tools of the control machine."""
    return {
        "slicebed": __version__,
        "python": platform.python_version(),
        "kernel": platform.release(),
        **{name: version(name) for name in _TOOLS},
    }


def verification_of(target: Target, asked: Asked) -> dict[str, Any] | None:
    """Give the last `slicebed verify` of the testbed, and whether it measured these very conditions; None for none.

    Raises:
        SpecError: the verdicts' file is damaged.
    """
    path = verdict_file(target)
    if not path.is_file():
        return None
    last = read_verdicts(path)
    return {**last.to_plain(), "of_these_conditions": last.wish_digest == asked.digest}


def agent_facts(connection: HostConnection) -> dict[str, Any]:
    """Ask an agent what it is.

    Raises:
        RunError: it does not answer.
    """
    try:
        reply = connection.control.Describe(agent_pb2.DescribeRequest(), timeout=_DESCRIBE_TIMEOUT_S)
    except grpc.RpcError as error:
        said = error.details() if isinstance(error, grpc.Call) else str(error)
        raise RunError(
            f"the agent does not answer ({said}); {connection.container_state()}",
            where=f"host {connection.host.name}",
        ) from error
    return {field.name: value for field, value in reply.ListFields()}
