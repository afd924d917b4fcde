"""Profiles of models on hosts: measured by the agents, kept as JSON beside the campaign, found again in earlier ones.

A kept profile is taken only where everything is the same: the model's file, how many frames at a time, what it was fed,
the host, what the agent says of it, and the condition that was applied to it. Of two hosts that are alike in all of
that but the name, one profile may serve both, if the caller asks; the record says so.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

import grpc

from slicebed.errors import RunError, SpecError
from slicebed.run.said import refusal_of
from slicebed.run.search.profile_record import (
    ANSWER,
    INPUT,
    CodecCost,
    HostFacts,
    HostProfile,
    Limits,
    PointTimes,
    read_profile,
)
from slicebed.run.store import write_json
from slicebed.spec.cuts import digest
from slicebed.split.search.contracts import Figure
from slicebed_agent.host.workload.plan import PERIOD_US
from slicebed_agent.pipeline.codecs import Codec
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from slicebed.run.connection import HostConnection

__all__ = ["HostProfile", "Knobs", "Limits", "Profiles", "Subject", "knobs_of", "obtain", "spent_s"]

Knobs = tuple[tuple[str, float | str], ...]
"""Of one host, sorted by name: (("edge.cores", 2.0),)."""

SECONDS = 2.0
"""How long rounds are made, beside making the model ready: two rounds at least, whatever they take."""
_CALL_S = 300.0
_ASK_S = 30.0


@dataclass(frozen=True)
class Subject:
    """What is profiled.

    Attributes:
        model: its name.
        sha256: of its frozen graph, which the host's agent must have already.
        feeds: tensors that the whole model is fed.
        fetches: tensors that it answers with.
        points: of every split point that a candidate names in `cut` the tensors that cross there, in the model's order.
        batch: frames at a time.
        codecs: of the candidates; what they cost is measured on every boundary.
        camera: what the model is fed; None: seeded values, with which codecs that compress do otherwise than with
            pictures, and no transformer is timed.
        film_bytes: size of the camera's film; 0 where it has none.
    """

    model: str
    sha256: str
    feeds: tuple[str, ...]
    fetches: tuple[str, ...]
    points: Mapping[str, tuple[str, ...]]
    batch: int
    codecs: tuple[Codec, ...] = ()
    camera: agent_pb2.SourceConfig | None = None
    film_bytes: int = 0

    @property
    def timed_codecs(self) -> tuple[Codec, ...]:
        """Those that do something: raw hands on views of the arrays."""
        return tuple(codec for codec in self.codecs if codec is not Codec.RAW)

    @property
    def crossings(self) -> dict[str, tuple[str, ...]]:
        """The split points with both ends of the model."""
        return {INPUT: self.feeds, **self.points, ANSWER: self.fetches}


@dataclass(frozen=True)
class Profiles:
    """The profiles of one problem, by host and the knobs of that host."""

    of: Mapping[tuple[str, Knobs], HostProfile]

    def at(self, host: str, knobs: Mapping[str, float | str]) -> HostProfile:
        """That of a host under a candidate's knobs.

        Raises:
            SpecError: there is none.
        """
        own = knobs_of(knobs, host)
        found = self.of.get((host, own))
        if found is None:
            told = ", ".join(f"{name} = {value}" for name, value in own)
            what = f"no profile of host {host}" + (f" with {told}" if told else "")
            raise SpecError(what, mend="let the host be profiled first")
        return found


def knobs_of(knobs: Mapping[str, float | str], host: str) -> Knobs:
    """Those of a candidate's knobs that are one host's."""
    return tuple(sorted((name, value) for name, value in knobs.items() if name.partition(".")[0] == host))


def obtain(  # noqa: PLR0913 - where profiles may come from are three places
    connection: HostConnection,
    subject: Subject,
    limits: Limits,
    folder: Path,
    *,
    condition: str,
    earlier: Path | None = None,
    alike: Iterable[HostProfile] = (),
) -> HostProfile:
    """Profile a model on a host in its present condition; or take the profile that is kept of just that.

    A campaign does so once per host, model and limits, whatever the condition is called.

    The agent's current run is ended.

    Args:
        connection: to the host, whose agent has the model's file.
        subject: what is profiled.
        limits: the host's condition, which was applied already.
        folder: the campaign's ``profiles``, where it is kept as ``<model>_<condition>_<host>.json``, by the condition
            that it was first made under; where such a file is there under other limits, digits that tell them apart
            follow.
        condition: its name.
        earlier: ``profiles`` of an earlier campaign; a profile in it is taken where all is the same.
        alike: profiles of other hosts, of which one is shared if that host has the same processor and limits.

    Raises:
        RunError: the agent cannot profile it, or answers with what is no profile of it.
        SpecError: ``earlier`` is no folder, or a file of ``folder`` is no profile.
    """
    host = connection.host.name
    try:
        facts = _facts(connection.control.Describe(agent_pb2.DescribeRequest(), timeout=_ASK_S))
        shown, camera = _camera(connection, subject)
        wanted = _Wanted(subject, limits, facts, host, shown)
        own = next(filter(wanted.is_met_by, _own(folder, subject.model, host)), None)
        if own is not None:
            return replace(own, testbed_s=0.0)
        profile = _found(wanted, earlier, alike)
        if profile is None:
            reply = connection.control.Profile(_request(subject, limits, camera), timeout=_CALL_S)
            fault = _fault(subject, reply)
            if fault is not None:
                mend = "see the agent's log, and that the host has this version"
                raise RunError(
                    f"the agent answered {fault}", where=f"host {host}: profile of {subject.model}", mend=mend
                )
            profile = _profile(wanted, reply)
    except grpc.RpcError as error:
        raise RunError(refusal_of(error, host), where=f"host {host}: profile of {subject.model}") from error
    profile = replace(profile, condition=condition)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(_path(folder, profile), profile.to_plain())
    return profile


@dataclass(frozen=True)
class _Wanted:
    """What a profile must be of to be taken."""

    subject: Subject
    limits: Limits
    facts: HostFacts
    host: str
    shown: str

    def is_met_by(self, kept: HostProfile) -> bool:
        """Whether it is of this host."""
        return kept.host == self.host and kept.facts == self.facts and self._is_same(kept)

    def is_shared_by(self, kept: HostProfile) -> bool:
        """Whether it is of a host that differs in its name alone."""
        return replace(kept.facts, hostname=self.facts.hostname) == self.facts and self._is_same(kept)

    def _is_same(self, kept: HostProfile) -> bool:
        subject = self.subject
        asked = (subject.sha256, subject.batch, self.limits, self.shown)
        if (kept.sha256, kept.batch, kept.limits, kept.shown) != asked:
            return False
        codecs = {codec.value for codec in subject.timed_codecs}
        return all(
            (at := kept.points.get(name)) is not None
            and at.tensors == tensors
            and codecs <= {row.codec for row in at.codecs}
            for name, tensors in subject.crossings.items()
        )


def _facts(said: agent_pb2.DescribeReply) -> HostFacts:
    return HostFacts(said.hostname, said.cpu_model, said.cores, said.tensorflow_version, said.agent_version)


def _camera(connection: HostConnection, subject: Subject) -> tuple[str, agent_pb2.SourceConfig | None]:
    """What the model is shown on this host, and words that tell it; only the camera's host has its film."""
    if subject.camera is None:
        return "seeded", None
    camera = agent_pb2.SourceConfig()
    camera.CopyFrom(subject.camera)
    # How many there are, and how fast, changes nothing of the first frame.
    camera.frames, camera.frames_per_s, camera.loops = 0, 1.0, 0
    shown = "camera"
    film = agent_pb2.ModelFile(sha256=camera.file_sha256, size_bytes=subject.film_bytes)
    if camera.file_sha256 and not connection.control.HasModel(film, timeout=_ASK_S).present:
        camera.images, camera.file_sha256, shown = agent_pb2.IMAGES_SYNTHETIC, "", "synthetic"
    return f"{shown} {digest(camera.SerializeToString(deterministic=True).hex())}", camera


def _request(subject: Subject, limits: Limits, camera: agent_pb2.SourceConfig | None) -> agent_pb2.ProfileRequest:
    period_us = (limits.cpu_period_us or PERIOD_US) if limits.cpu_quota is not None else 0
    return agent_pb2.ProfileRequest(
        model_sha256=subject.sha256,
        feeds=subject.feeds,
        fetches=subject.fetches,
        cuts=[agent_pb2.Crossing(tensors=tensors) for tensors in subject.crossings.values()],
        batch=subject.batch,
        seconds=SECONDS,
        codecs=[f"CODEC_{codec.name}" for codec in subject.timed_codecs],
        source=camera,
        period_s=period_us / 1e6,
    )


def _fault(subject: Subject, reply: agent_pb2.ProfileReply) -> str | None:
    """What makes an answer no profile of what was asked for; None: nothing does."""
    if len(reply.cuts) != len(subject.crossings):
        return f"{len(reply.cuts)} split points instead of {len(subject.crossings)}"
    if not reply.whole_s or len(reply.whole_s) != len(reply.whole_cpu_s):
        return f"{len(reply.whole_s)} times of the whole model and {len(reply.whole_cpu_s)} processor times"
    wanted = {agent_pb2.Codec.Value(f"CODEC_{codec.name}") for codec in subject.timed_codecs}
    for name, at in zip(subject.crossings, reply.cuts, strict=True):
        if (found := {row.codec for row in at.codecs}) != wanted:
            return f"codecs {sorted(found)} at {name} instead of {sorted(wanted)}"
    estimates = [reply.call_s, reply.transform_s, *(side for at in reply.cuts for side in (at.before, at.after))]
    numbers = {
        "whole_s": reply.whole_s,
        "whole_cpu_s": reply.whole_cpu_s,
        "kernels_s": (reply.kernels_s,),
        "took_s": (reply.took_s,),
        "call_s, transform_s or a share": [end for each in estimates for end in (each.median, each.low, each.high)],
        "a codec": [spent for at in reply.cuts for row in at.codecs for spent in (row.encode_s, row.decode_s)],
    }
    for name, values in numbers.items():
        for number in values:
            if not (math.isfinite(number) and number >= 0):
                return f"{number} for {name}"
    return None


def _profile(wanted: _Wanted, reply: agent_pb2.ProfileReply) -> HostProfile:
    subject = wanted.subject
    points = {
        name: PointTimes(tensors, _figure(at.before), _figure(at.after), at.bytes, tuple(map(_cost, at.codecs)))
        for (name, tensors), at in zip(subject.crossings.items(), reply.cuts, strict=True)
    }
    return HostProfile(
        model=subject.model,
        sha256=subject.sha256,
        batch=subject.batch,
        host=wanted.host,
        condition="",
        limits=wanted.limits,
        facts=wanted.facts,
        shown=wanted.shown,
        whole_s=tuple(reply.whole_s),
        whole_cpu_s=tuple(reply.whole_cpu_s),
        call_s=reply.call_s.median,
        kernels_s=reply.kernels_s,
        transform_s=reply.transform_s.median if reply.HasField("transform_s") else None,
        points=MappingProxyType(points),
        testbed_s=reply.took_s,
    )


def _figure(found: agent_pb2.Estimate) -> Figure:
    return Figure(found.median, found.low, found.high)


def _cost(row: agent_pb2.CodecTimes) -> CodecCost:
    codec = Codec[agent_pb2.Codec.Name(row.codec).removeprefix("CODEC_")]
    return CodecCost(codec.value, row.filter, row.bytes, row.encode_s, row.decode_s)


def spent_s(folder: Path, subject: Subject, condition: str) -> float:
    """Seconds that hosts were used for what a campaign's ``profiles`` keep of a model as made under a condition.

    Raises:
        SpecError: a file of it is no profile.
    """
    kept = map(read_profile, sorted(folder.glob(f"{_stem(subject.model, condition)}_*.json")))
    return math.fsum(each.testbed_s for each in kept if each.sha256 == subject.sha256)


def _own(folder: Path, model: str, host: str) -> Iterator[HostProfile]:
    """What this campaign keeps of a host, whatever condition it was made under."""
    yield from map(read_profile, sorted(folder.glob(f"{_stem(model)}_*_{_stem(host)}*.json")))


def _found(wanted: _Wanted, earlier: Path | None, alike: Iterable[HostProfile]) -> HostProfile | None:
    """Of an earlier campaign, in which a file that is no profile is passed over; or of a host that is alike."""
    if earlier is not None and not earlier.is_dir():
        raise SpecError("no folder of profiles", where=str(earlier), mend="name the profiles folder of a campaign")
    for path in sorted(earlier.glob("*.json")) if earlier is not None else ():
        with contextlib.suppress(SpecError):
            kept = read_profile(path)
            if wanted.is_met_by(kept):
                return replace(kept, testbed_s=0.0)
    twin = next(filter(wanted.is_shared_by, alike), None)
    if twin is None:
        return None
    measured_on = twin.measured_on or twin.host
    return replace(twin, host=wanted.host, facts=wanted.facts, testbed_s=0.0, measured_on=measured_on)


def _path(folder: Path, profile: HostProfile) -> Path:
    stem = _stem(profile.model, profile.condition, profile.host)
    path = folder / f"{stem}.json"
    if not path.is_file():
        return path
    told_apart = digest(json.dumps([asdict(profile.limits), profile.sha256, profile.shown, *profile.points]))
    return folder / f"{stem}_{told_apart}.json"


def _stem(*words: str) -> str:
    return "_".join(re.sub(r"[^A-Za-z0-9.-]", "-", word) for word in words)
