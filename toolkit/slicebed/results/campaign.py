"""A campaign's folder as it was left: finished runs with their samples, and those that are not finished."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import pandas as pd

from slicebed.errors import RunError, SpecError
from slicebed.run.accounts import chain_of, is_complete
from slicebed.run.samples import cut_label
from slicebed.run.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_PARTIAL = ".partial"
# An attempt that is no result is kept as <run>.failed-<attempt>, with or without the manifest of its failure, or as
# <run>.invalid-<attempt>, where a link was not as asked.
_ATTEMPT = re.compile(r"(?P<run>.+)\.(?:failed|invalid)-[0-9]+")
# Of a part of a stream in which an agent was started again: the camera's account is whole, that agent's has a gap.
_REJOINED = "rejoined"


@dataclass(frozen=True)
class FinishedRun:
    """A complete run: its folder and manifest, and its samples, read when they are asked for.

    Attributes:
        path: its folder.
        manifest: what ``manifest.json`` holds.
        version: of a stream, whose cut may change while it runs: the cut's version, whose frames alone these are.
    """

    path: Path
    manifest: dict[str, Any]
    version: int | None = None

    @property
    def configuration(self) -> str:
        """Name of the configuration."""
        return str(self.manifest["configuration"])

    @property
    def cut(self) -> str:
        """Label of the cut."""
        return cut_label(self.manifest, self.version)

    @property
    def placement(self) -> str:
        """Name of the experiment's placement; empty where it has none."""
        return str(self.manifest.get("placement") or "")

    @property
    def stretch(self) -> str:
        """Part and version of a stream, such as ``part1 v0``; empty for a run of a sweep, which has one cut."""
        return "" if self.version is None else f"{self.path.name} v{self.version}"

    @property
    def chain(self) -> tuple[str, ...]:
        """The hosts that its frames passed."""
        return chain_of(self.manifest)

    @property
    def summary(self) -> dict[str, Any]:
        """What its manifest says beyond counts: codecs, early answers; nothing in one of before there was any."""
        summary: dict[str, Any] = self.manifest.get("summary", {})
        return summary

    @cached_property
    def samples(self) -> pd.DataFrame:
        """One row per frame; raises RunError when the file is missing or cannot be read."""
        try:
            frames = pd.read_parquet(self.path / "samples.parquet", engine="pyarrow")
        except (OSError, ValueError) as error:
            raise RunError(f"samples of a finished run cannot be read: {error}", where=str(self.path)) from None
        return frames if self.version is None else frames[frames["version"] == self.version]


@dataclass(frozen=True)
class Unfinished:
    """An attempt at a run whose figures are not results.

    Attributes:
        run: name of the run.
        status: "failed", "invalid" when a link was not as asked, or "partial" when it was cut off or is still running.
        error: why it failed, where that is known.
        repeated: whether another attempt completed the run.
    """

    run: str
    status: str
    error: str | None = None
    repeated: bool = False


@dataclass(frozen=True)
class Campaign:
    """All runs of one campaign folder.

    Attributes:
        name: the folder's name.
        finished: runs whose frames are all accounted for; of a stream, one for every version of its cut.
        unfinished: the others.
        timeline: of a stream: what happened and when, as its manifests hold it.
    """

    name: str
    finished: tuple[FinishedRun, ...]
    unfinished: tuple[Unfinished, ...]
    timeline: tuple[dict[str, Any], ...] = field(default=())

    @property
    def frames_per_s(self) -> float:
        """The source's rate, the same in every run of a campaign; 0 without any."""
        return float(self.finished[0].manifest["spec"]["source"]["rate_per_s"]) if self.finished else 0.0

    @property
    def has_placements(self) -> bool:
        """Whether the experiment placed its stages by name, or is a stream, which is shown in the same way."""
        return any(run.placement or run.stretch for run in self.finished)

    def spec_of(self, configuration: str) -> dict[str, Any]:
        """The experiment that the runs of a configuration are of; empty without any."""
        found = (run.manifest["spec"] for run in self.finished if run.configuration == configuration)
        return next(found, {})

    @property
    def wire(self) -> str:
        """Which wires joined the hosts; several are joined by commas, so that a mixture is seen."""
        return ", ".join(sorted({str(run.manifest["wire"]) for run in self.finished})) or "none"


def read_campaign(campaign_dir: Path) -> Campaign:
    """Read every run folder of a campaign.

    Raises:
        SpecError: there is no such folder.
        RunError: a manifest cannot be read.
    """
    if not campaign_dir.is_dir():
        raise SpecError("no such campaign", where=str(campaign_dir), mend="name a folder that slicebed run made")
    finished: list[FinishedRun] = []
    unfinished: list[Unfinished] = []
    timeline: list[dict[str, Any]] = []
    for path in sorted(each for each in campaign_dir.iterdir() if each.is_dir()):
        attempt = _ATTEMPT.fullmatch(path.name)
        run = attempt["run"] if attempt else path.name
        if path.name.endswith(_PARTIAL):
            unfinished.append(Unfinished(path.name.removesuffix(_PARTIAL), "partial"))
        elif (path / "manifest.json").is_file():
            manifest = _manifest(path)
            # Every part of a stream has all that happened so far.
            timeline = max(timeline, manifest.get("timeline", []), key=len)
            if is_complete(manifest) or manifest["status"] == _REJOINED:
                finished += by_version(FinishedRun(path, manifest))
            else:
                unfinished.append(Unfinished(run, str(manifest["status"]), manifest.get("error")))
        elif attempt:
            unfinished.append(Unfinished(run, "failed", "cut off before it could say why"))
    done = {run.path.name for run in finished}
    told = tuple(replace(attempt, repeated=attempt.run in done) for attempt in unfinished)
    return Campaign(campaign_dir.resolve().name, tuple(finished), told, tuple(timeline))


def by_version(run: FinishedRun) -> Iterator[FinishedRun]:
    """A part of a stream as one run for every version of its cut that had frames; any other run as it is.

    Raises:
        RunError: the stream's samples cannot be read.
    """
    if "timeline" not in run.manifest:
        yield run
        return
    for version in sorted(map(int, run.manifest["cuts"])):
        frames = run.samples[run.samples["version"] == version]
        if len(frames):
            yield FinishedRun(run.path, run.manifest | _of_version(run, version, frames), version)


def _of_version(run: FinishedRun, version: int, frames: pd.DataFrame) -> dict[str, Any]:
    """What a manifest says of frames, for those of one version."""
    ends = frames["end"].value_counts()
    counts = {name: int(ends.get(name, 0)) for name in ("completed", "dropped", "failed")}
    ended_s = (frames["captured_s"] + frames["latency_ms"] / 1000).max()
    codecs = [note for note in run.summary.get("codecs", ()) if note.get("boundary") == version]
    return {
        "frames": {"captured": len(frames), **counts},
        "total_time_s": float(ended_s - frames["captured_s"].min()),
        "summary": summarise(frames, {}, run.manifest) | {"codecs": codecs},
    }


def _manifest(path: Path) -> dict[str, Any]:
    try:
        manifest: dict[str, Any] = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        missing = [key for key in ("status", "configuration", "cut", "spec", "wire", "frames") if key not in manifest]
    except (OSError, ValueError) as error:
        raise RunError(f"manifest cannot be read: {error}", where=str(path)) from None
    if missing:
        raise RunError(f"manifest lacks {', '.join(missing)}", where=str(path))
    return manifest
