"""Profiles of models on hosts: measured by the agents, kept as JSON beside the campaign, found again in earlier ones.

Draft: signatures first, for those who call them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slicebed.run.connection import HostConnection
    from slicebed.spec.testbed import Host
    from slicebed_agent.pipeline.codecs import Codec

Knobs = tuple[tuple[str, float | str], ...]
"""Of one host, sorted by name: (("edge.cores", 2.0),)."""


@dataclass(frozen=True)
class Limits:
    """The condition of a host's workload, as it was asked for and applied.

    Attributes:
        cores: how many cores it may use; None: all.
        cpu_quota: processor time per second of time; None: no limit.
        frequency_khz: of its cores; None: the machine's own.
    """

    cores: int | None = None
    cpu_quota: float | None = None
    frequency_khz: int | None = None

    @classmethod
    def of(cls, host: Host) -> Limits:
        """Those of a testbed's host."""
        raise NotImplementedError


@dataclass(frozen=True)
class Subject:
    """What is profiled.

    Attributes:
        model: its name.
        sha256: of its frozen graph, which the host's agent must have already.
        feeds, fetches: tensors of the whole model.
        points: of every split point that a candidate names in `cut`: the tensors that cross there; in the model's order.
        batch: frames at a time.
        codecs: whose costs are measured on every boundary.
    """

    model: str
    sha256: str
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    points: Mapping[str, tuple[str, ...]]
    batch: int
    codecs: tuple[Codec, ...] = ()


@dataclass(frozen=True)
class HostProfile:
    """Draft: what `obtain` gives; `testbed_s` is how long the host was used for it, 0 when it was found."""

    testbed_s: float = 0.0


@dataclass(frozen=True)
class Profiles:
    """The profiles of one problem, by host and the knobs of that host."""

    of: Mapping[tuple[str, Knobs], HostProfile]


def knobs_of(knobs: Mapping[str, float | str], host: str) -> Knobs:
    """Those of a candidate's knobs that are one host's."""
    return tuple(sorted((name, value) for name, value in knobs.items() if name.partition(".")[0] == host))


def obtain(
    connection: HostConnection,
    subject: Subject,
    limits: Limits,
    folder: Path,
    *,
    condition: str,
    earlier: Path | None = None,
) -> HostProfile:
    """Profile a model on a host in its present condition; or take the profile that is kept of just that.

    Args:
        connection: to the host, whose agent has the model's file and no run under way.
        subject: what is profiled.
        limits: the host's condition, which was applied already.
        folder: the campaign's ``profiles``, where it is kept as ``<model>_<condition>_<host>.json``.
        condition: its name.
        earlier: ``profiles`` of an earlier campaign; a profile in it is taken where model, host and limits are the same.

    Raises:
        RunError: the agent cannot profile it.
    """
    raise NotImplementedError
