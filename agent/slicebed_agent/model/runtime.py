"""The one door to TensorFlow: imported on first use, with thread pools as wide as the process may run."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import os
import platform
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64")
# While its libraries load, before it reads what may be logged: lines of information, and one about such lines.
_TALK: Final = re.compile(
    rb"I\d{4} |WARNING: All log messages before absl::InitializeLog\(\)|To enable the following instr"
)


def usable_cores() -> int:
    """Number of CPU cores this process may run on (its affinity, which a container's cpuset narrows)."""
    return len(os.sched_getaffinity(0))


def cpu_model() -> str:
    """What the processor calls itself; the machine's architecture where it does not."""
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model"}:
            return value.strip()
    return platform.machine()


def tensorflow_version() -> str:
    """Version of the installed TensorFlow, found without importing it.

    Raises:
        AgentError: TensorFlow is not installed.
    """
    for name in _DISTRIBUTIONS:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    raise AgentError("TensorFlow is not installed", where="model", mend="install slicebed[agent]")


@functools.cache
def tensorflow() -> Any:
    """Import TensorFlow once, after telling it how many cores it has.

    The pools cannot be resized once TensorFlow has started, and by default they count every core of the machine: an
    agent confined to one core would then run many threads on it.

    Raises:
        AgentError: TensorFlow is not installed.
    """
    tensorflow_version()
    with without_talk():
        tf = importlib.import_module("tensorflow")
    cores = usable_cores()
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    return tf


@contextlib.contextmanager
def without_talk() -> Iterator[None]:
    """Keep off stderr what TensorFlow says while it loads; whatever else is written there meanwhile comes after it."""
    # Everything but fatal: its errors reach us as exceptions, and what is left is talk of the GPU it did not find.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    if sys.stderr is None:
        # A process without one.
        yield
        return
    stderr = 2
    sys.stderr.flush()
    with tempfile.TemporaryFile() as held:
        before = os.dup(stderr)
        os.dup2(held.fileno(), stderr)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, stderr)
            os.close(before)
            held.seek(0)
            for line in held:
                if not _TALK.match(line):
                    os.write(stderr, line)
