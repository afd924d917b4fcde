"""Measures cells on the hosts of one site: agents stay up, conditions change only when the next cell wants others."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

import grpc

from slicebed.errors import MissingRequirementError, ProvisionError, RunError
from slicebed.run.bench import reached
from slicebed.run.progress import Progress
from slicebed.run.search.crew import SiteLostError
from slicebed.run.search.spent import CONDITIONS_SET, MODEL_BROUGHT
from slicebed_agent.rpc.v1 import agent_pb2

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable, Iterator, Mapping

    from slicebed.run.bench import Bench, Links, Subject
    from slicebed.run.search.space import Cell, Knobs, Space
    from slicebed.run.stage import Stage
    from slicebed.spec.order import PlannedRun
    from slicebed.testbed.image import ImageFacts

_ANSWER_S: Final = 5.0
# So often agents of a site are started again in one search; one that dies more often has a reason that stays.
_MOST_REVIVALS: Final = 10


@dataclass
class SiteWorker:
    """The reached hosts of a site, what was brought to them, and the condition that they are in.

    Attributes:
        site: its name.
        bench: its hosts.
        spaces: of the search, by their id.
    """

    site: str
    bench: Bench
    spaces: Mapping[str, Space]
    _subjects: dict[str, Subject] = field(default_factory=dict)
    _conditions: tuple[object, ...] = ()
    _links: Links | None = None
    _revivals: int = 0

    def measure(self, cell: Cell, stopped: threading.Event) -> Mapping[str, Any]:
        """Do a cell's run; give its manifest. Raises as `crew.Worker` says."""
        space = self.spaces[cell.problem]
        variant = space.variants[cell.key]
        subject = self.subject(space)
        links = self.set_conditions(space, variant.knobs)
        stage = self.bench.stage
        stage.campaign.note("cell_started", cell=cell.id, run=cell.run_id, site=self.site)
        about = {
            "cell": cell.id,
            "cell_frames": cell.frames,
            "problem": space.id,
            "condition": space.condition,
            "key": cell.key,
            "codec": variant.codec.value,
            "knobs": dict(variant.knobs),
            "site": self.site,
        }
        heeding = replace(self.bench, stage=replace(stage, progress=_Heeding(stage.progress, stopped)))
        try:
            return heeding.run(replace(subject, experiment=space.experiment_of(cell)), space.run_of(cell), links, about)
        except (RunError, ProvisionError):
            if stage.campaign.is_done(cell.run_id):
                # It is whole; only clearing up after it failed.
                return stage.campaign.manifest(cell.run_id)
            raise
        except BaseException:
            # Whoever changed a link may have changed the others.
            self._links = None
            raise

    def subject(self, space: Space) -> Subject:
        """A space's model, brought to the hosts when it is first wanted; the same under all conditions."""
        if space.model not in self._subjects:
            runs, begin = space.every_run(), time.monotonic()
            self._subjects[space.model] = self.bench.place(space.experiment, space.opened, space.sliced, runs)
            self._note(MODEL_BROUGHT, begin, model=space.model)
        return self._subjects[space.model]

    def set_conditions(self, space: Space, knobs: Knobs) -> Links:
        """Make hosts and links as a space and its knobs ask, and verify the links, unless they are so already."""
        wanted = (space.condition, space.parts, knobs)
        if self._links is None or wanted != self._conditions:
            self._links = None
            experiment, begin = space.experiment_at(knobs), time.monotonic()
            self._links = self.bench.set_conditions(experiment, space.configuration, space.parts)
            self._conditions = wanted
            self._note(CONDITIONS_SET, begin, condition=space.condition, knobs=dict(knobs))
        return self._links

    def _note(self, event: str, begin: float, **facts: object) -> None:
        """Write down how long the testbed was used for something."""
        testbed_s = time.monotonic() - begin
        self.bench.stage.campaign.note(event, **facts, site=self.site, testbed_s=testbed_s)

    def mend(self) -> None:
        """Start agents that do not answer, and connect anew where that is needed.

        Raises:
            SiteLostError: they cannot be had any more.
        """
        for host in self.bench.agents.chain:
            if self._answers(host):
                continue
            self._revivals += 1
            self._links = None
            self.bench.stage.campaign.note("agent_gone", host=host, site=self.site)
            if self._revivals > _MOST_REVIVALS:
                raise SiteLostError(
                    f"its agents were started {_MOST_REVIVALS} times again", where=f"host {host}", mend="see its log"
                )
            try:
                self.bench.agents.revive(host)
            except (ProvisionError, RunError) as error:
                raise SiteLostError(error.what, where=error.where, mend=error.mend) from error

    def _answers(self, host: str) -> bool:
        try:
            self.bench.connections[host].control.Describe(agent_pb2.DescribeRequest(), timeout=_ANSWER_S)
        except grpc.RpcError:
            return False
        return True


class _Heeding(Progress):
    """Passes on what it hears; a run that hears that all is to be stopped ends as at Ctrl-C."""

    def __init__(self, other: Progress, stopped: threading.Event) -> None:
        self._other, self._stopped = other, stopped

    def say(self, text: str) -> None:
        self._other.say(text)

    def run_begins(self, run: PlannedRun) -> None:
        self._other.run_begins(run)

    def run_ends(self, run: PlannedRun, manifest: dict[str, Any]) -> None:
        self._other.run_ends(run, manifest)

    def frames(self, ended: int) -> None:
        if self._stopped.is_set():
            raise KeyboardInterrupt
        self._other.frames(ended)


@contextmanager
def site_worker(site: str, stage: Stage, image: ImageFacts, spaces: Mapping[str, Space]) -> Iterator[SiteWorker]:
    """A worker whose agents are reached for the `with` block.

    Raises:
        ProvisionError: no SSH connection to a host.
        RunError: an agent does not answer.
    """
    with reached(stage, image) as bench:
        yield SiteWorker(site, bench, spaces)


def require_energy(bench: Bench, spaces: Iterable[Space]) -> None:
    """Ask, before the first cell, for what every host that frames pass must tell where energy is searched for.

    Raises:
        MissingRequirementError: a host does not measure its energy.
    """
    used = {
        host
        for space in spaces
        for placement in space.experiment.every_placement
        for host in placement.chain(space.experiment.chain[0])
    }
    # What an agent does not say is false.
    if without := [host for host, said in bench.facts.items() if host in used and not said.get("measures_energy")]:
        raise MissingRequirementError(
            "no energy is measured there: the agent cannot read RAPL (/sys/class/powercap)",
            where=f"host {', '.join(without)}",
            mend="take another objective, or hosts that measure it",
        )
