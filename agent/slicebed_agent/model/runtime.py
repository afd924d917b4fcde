"""The one door to TensorFlow: imported on first use, with thread pools as wide as the process may run."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import os
from typing import Any

from slicebed_agent.errors import AgentError

_DISTRIBUTIONS = ("tensorflow", "tensorflow-cpu", "tensorflow-aarch64")


def usable_cores() -> int:
    """Number of CPU cores this process may run on (its affinity, which a container's cpuset narrows)."""
    return len(os.sched_getaffinity(0))


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
    # Everything but fatal: its errors reach us as exceptions, and what is left is talk of the GPU it did not find.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    tf = importlib.import_module("tensorflow")
    cores = usable_cores()
    tf.config.threading.set_intra_op_parallelism_threads(cores)
    tf.config.threading.set_inter_op_parallelism_threads(cores)
    return tf
