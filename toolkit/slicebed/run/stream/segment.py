"""One stretch of a stream: the frames of one camera, counted from 0, and what is kept of them.

A stream is one stretch as long as the first agent lives; when it was lost, its account of frames was too, and another
stretch begins.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from slicebed.errors import RunError, SlicebedError
from slicebed.run import driver
from slicebed.run.accounts import read_accounts
from slicebed.run.assignments import configs
from slicebed.run.samples import write_samples
from slicebed.run.store import now, write_json
from slicebed.run.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from slicebed.run.assignments import Job
    from slicebed.run.driver import Prepared
    from slicebed.run.store import Campaign
    from slicebed.run.stream.agents import Agents
    from slicebed.run.stream.timeline import Timeline
    from slicebed.spec.cuts import Cut

COUNTS = ("captured", "completed", "dropped", "failed")


@dataclass
class Segment:
    """A stretch under way.

    Attributes:
        number: counted from 1.
        job: as its agents are told now: with the cut and version in use.
        folder: where its samples go.
        started_at: UTC.
        prepared: what the agents said of their slices at first.
        cuts: every cut by its version, in the order in which they were made ready.
        rejoined: hosts whose agent was started again; their account has a gap.
    """

    number: int
    job: Job
    folder: Path
    started_at: str = field(default_factory=now)
    prepared: tuple[Prepared, ...] = ()
    cuts: dict[int, Cut] = field(default_factory=dict)
    rejoined: list[str] = field(default_factory=list)

    @property
    def run_name(self) -> str:
        """Its folder's name."""
        return f"part{self.number}"

    def begin(self, agents: Agents) -> None:
        """Prepare the agents, last to first, and start the camera.

        Raises:
            RunError: an agent is not there or refuses.
        """
        self.cuts[self.job.version] = self.job.cut
        self.prepared = driver.prepare(agents.connections, self.job)
        driver.start(agents.connections, self.job)

    def rejoin(self, agents: Agents, host: str) -> None:
        """Prepare one agent, which was started again, for the run that goes on.

        Raises:
            RunError: it is not there or refuses.
        """
        self._save_spool(agents, host)
        (config,) = [each for name, each in configs(self.job) if name == host]
        driver.prepare_host(agents.connections, host, config)
        self.rejoined.append(host)

    def in_use(self, cut: Cut, version: int) -> None:
        """Frames captured from now on go through another cut."""
        self.job = replace(self.job, cut=cut, version=version)
        self.cuts[version] = cut

    def end(self, agents: Agents, campaign: Campaign, timeline: Timeline, lasting: Mapping[str, Any]) -> Path:
        """End the run on every agent, and keep samples and manifest.

        Returns:
            The folder of the whole stretch.

        Raises:
            RunError: an agent left no samples, or the frames do not add up; what there is stays, marked as failed.
        """
        manifest = self._manifest(campaign, timeline, lasting)
        try:
            driver.finish(agents.connections, self.job)
            counts = agents.look(self.job.run_id).answers.get(self.job.chain[0])
            missing = driver.collect(agents.connections, self.job, self.folder)
            if missing or counts is None:
                raise RunError("the agent left no samples", where=f"host {(*missing, self.job.chain[0])[0]}")
            manifest["frames"] = {name: getattr(counts, name) for name in COUNTS}
            self._join_spools()
            # What a killed agent did last may not be on its disk: the hosts cannot be held against each other.
            manifest["status"] = "rejoined" if self.rejoined else "complete"
            samples = write_samples(self.folder, manifest)
            _require_sum(manifest["frames"], self.run_name)
            manifest["summary"] = summarise(samples, read_accounts(self.folder, manifest), manifest)
            manifest["total_time_s"] = float((samples["captured_s"] + samples["latency_ms"] / 1000).max())
        except (SlicebedError, KeyboardInterrupt) as error:
            self._keep_failed(agents, campaign, manifest, error)
            raise
        manifest["ended_at"] = now()
        write_json(self.folder / "manifest.json", manifest)
        kept = campaign.finish_run(self.run_name)
        for connection in agents.connections.values():
            # They fill the host's disk, no more; the samples are here.
            with suppress(SlicebedError):
                connection.remove_samples(self.job.run_id)
        return kept

    def cut_short(
        self, agents: Agents, campaign: Campaign, timeline: Timeline, lasting: Mapping[str, Any], why: BaseException
    ) -> None:
        """Keep what there is of a stretch that cannot go on."""
        driver.abandon(agents.connections, self.job)
        self._keep_failed(agents, campaign, self._manifest(campaign, timeline, lasting), why)

    def _keep_failed(self, agents: Agents, campaign: Campaign, manifest: dict[str, Any], error: BaseException) -> None:
        driver.abandon(agents.connections, self.job)
        driver.collect(agents.connections, self.job, self.folder)
        manifest |= {"status": "failed", "error": str(error) or "interrupted", "ended_at": now()}
        with suppress(SlicebedError):
            # What the hosts left may itself be what is wrong; the error under way is the one to report.
            self._join_spools()
            write_samples(self.folder, manifest)
        write_json(self.folder / "manifest.json", manifest)
        campaign.fail_run(self.run_name)

    def _manifest(self, campaign: Campaign, timeline: Timeline, lasting: Mapping[str, Any]) -> dict[str, Any]:
        job = self.job
        return {
            "run": self.run_name,
            "campaign": campaign.name,
            "configuration": job.configuration.name,
            "placement": job.placement.name,
            "chain": list(job.chain),
            "stages": {each.host: [stage.name for stage in each.stages] for each in job.layout},
            "slices": [asdict(each) for each in self.prepared],
            "wire": "+".join(sorted({job.hosts[a].link_to(b).wire for a, b in pairwise(job.chain)})) or "none",
            # A stream leaves conditions as they are, and does not measure them.
            "links": [],
            "verification": None,
            "cut": list(self.cuts[min(self.cuts)].points),
            "cuts": {version: cut.label for version, cut in self.cuts.items()},
            "repeat": self.number,
            "status": "failed",
            "started_at": self.started_at,
            "spec": job.experiment.to_plain(),
            "frames_asked": job.frames,
            "frames": {},
            "rejoined": self.rejoined,
            "timeline": timeline.to_plain(),
            **lasting,
        }

    def _save_spool(self, agents: Agents, host: str) -> None:
        """An agent that is prepared again writes its file anew: what it had written is fetched first."""
        number = 1 + len(list(self._spool(host).parent.glob("samples.*.jsonl")))
        agents.connection(host).fetch_samples(self.job.run_id, self._spool(host).with_suffix(f".{number}.jsonl"))

    def _join_spools(self) -> None:
        for host in set(self.rejoined):
            spool = self._spool(host)
            parts = [*sorted(spool.parent.glob("samples.*.jsonl")), *([spool] if spool.is_file() else [])]
            lines = [line for part in parts for line in part.read_text(encoding="utf-8").splitlines(keepends=True)]
            # A killed agent may leave a line without its end, which would make the next one unreadable.
            spool.write_text("".join(line for line in lines if line.endswith("}\n")), encoding="utf-8")
            for part in parts:
                if part != spool:
                    part.unlink()

    def _spool(self, host: str) -> Path:
        return self.folder / "hosts" / host / "samples.jsonl"


def _require_sum(frames: Mapping[str, int], where: str) -> None:
    if frames["captured"] != frames["completed"] + frames["dropped"] + frames["failed"]:
        raise RunError(f"frames are not conserved: captured is not the sum of the ends: {dict(frames)}", where=where)
