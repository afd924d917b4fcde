"""Searches over real runs: models opened, hosts reached, then every method on every problem until it decides."""

from __future__ import annotations

import hashlib
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import PurePath
from typing import TYPE_CHECKING, Any, TypeVar

from slicebed.errors import ProvisionError, SpecError
from slicebed.run.bench import image_if_built, journaled
from slicebed.run.found_cuts import resolve_cuts
from slicebed.run.search.foresight import check_kept, foresee
from slicebed.run.search.rehearsal import rehearse
from slicebed.run.search.searching import Searching, Settings
from slicebed.run.search.space import conditions_of, limited_testbed, space_of
from slicebed.run.search.worker import require_energy, site_worker
from slicebed.run.sliced_model import open_choice, slice_model
from slicebed.run.stage import Stage, ground_of, hosts_of
from slicebed.run.store import create_campaign, find_unfinished
from slicebed.run.taken import hosts_taken
from slicebed.spec.experiment import MAX_FRAMES
from slicebed.spec.search import OWN_TESTBED, Search
from slicebed.split.search import registry
from slicebed.split.search.objective import shown
from slicebed.testbed.image import read_image_facts
from slicebed.testbed.inventory import read_inventory

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from slicebed.run.progress import Progress
    from slicebed.run.search.foresight import Foresight
    from slicebed.run.search.space import Space
    from slicebed.run.search.worker import SiteWorker
    from slicebed.run.store import Campaign
    from slicebed.spec.experiment import Experiment
    from slicebed.spec.models import ModelChoice
    from slicebed.spec.objective import Objective
    from slicebed.testbed.checkout import Checkout
    from slicebed.testbed.inventory import InventoryHost

T = TypeVar("T")


@dataclass(frozen=True)
class SearchWanted:
    """What the caller asks of a search.

    Attributes:
        experiment: what is searched is in its `search`, or it is itself.
        inventory: of the hosts, unless the experiment names sites.
        results: where campaigns go.
        methods: by name; all of them on every problem.
        objective: what is minimised.
        budget: the most candidates that a method may measure; None: no limit.
        models: only these, by name; None: all.
        conditions: only these, by name; None: all.
        frames: of every run instead of the experiment's.
        profiles: those of an earlier campaign, taken where they fit.
        seed: of what methods draw.
    """

    experiment: Experiment
    inventory: Path
    results: Path
    methods: tuple[str, ...]
    objective: Objective
    budget: int | None = None
    models: tuple[str, ...] | None = None
    conditions: tuple[str, ...] | None = None
    frames: int | None = None
    profiles: Path | None = None
    seed: int = 0

    @property
    def search(self) -> Search:
        """The experiment's; without one, its own model on its own testbed."""
        own = self.experiment
        if own.search is not None:
            return own.search
        return Search((own.model,), {OWN_TESTBED: own.testbed}, (own.pipeline.codec,))

    @property
    def settings(self) -> Settings:
        """How the search goes about it."""
        search, order = self.search, self.experiment.order
        return Settings(
            objective=self.objective,
            budget=self.budget,
            at_least=search.at_least,
            at_most=search.at_most,
            until=search.until,
            options=search.options,
            seed=self.seed,
            randomised=order.randomised,
            order_seed=order.seed,
        )

    @property
    def sites(self) -> dict[str, Path]:
        """Inventories by name of their site."""
        paths = self.search.sites or (self.inventory,)
        names = [path.stem for path in paths]
        return {path.stem if names.count(path.stem) == 1 else str(path): path for path in paths}

    def plan(self, spaces: Sequence[Space], ground: Mapping[str, Any]) -> dict[str, Any]:
        """What campaign.json keeps, and what must be the same for --resume; with what `ground_of` gives."""
        return {
            "kind": "search",
            "experiment": self.experiment.name,
            "experiment_sha256": hashlib.sha256(self.experiment.path.read_bytes()).hexdigest(),
            "methods": list(self.methods),
            "objective": shown(self.objective),
            "budget": self.budget,
            "frames": self.frames or self.experiment.frames,
            "seed": self.seed,
            "problems": {space.id: list(space.variants) for space in spaces},
            "models": {space.model: space.sliced.to_plain() for space in spaces},
            "spec": self.experiment.to_plain(),
            **ground,
        }


def run_search(
    checkout: Checkout, wanted: SearchWanted, progress: Progress, *, resume: bool = False, deploy: bool = True
) -> Campaign:
    """Search; give the campaign, whose ``tables/`` say what was found.

    Args:
        checkout: where the playbooks are.
        wanted: what to search.
        progress: told what goes on.
        resume: go on with the newest unfinished search of this experiment instead of a new one.
        deploy: make sure first that host tools and agents are there and running; False when they surely are.

    Raises:
        SpecError: a method, model or condition that there is not; a model lacks a split point, an inventory a host or a
            link; two sites have a host in common; a method refuses the problem; or there is nothing to resume on these
            hosts with this image.
        AgentError: a model cannot be opened.
        MissingRequirementError: there is no agent image, or no such inventory; or a host does not measure its energy,
            and the objective needs it.
        ConflictError: something else runs on these hosts.
        ProvisionError: a playbook failed, or the last site was lost.
        VerdictError: links were not as asked, again and again.
        RunError: too many cells failed one after the other, or all of those that a method needs; this machine cannot
            write, or what a search left cannot be read.
        InterruptedRunError: Ctrl-C; the runs under way are kept as failed ones.
    """
    find = find_unfinished if resume else create_campaign
    try:
        if wanted.frames is not None and not 1 <= wanted.frames <= MAX_FRAMES:
            raise SpecError(f"{wanted.frames} frames are out of range", mend=f"allowed: 1 to {MAX_FRAMES}")
        if wanted.profiles is not None and not wanted.profiles.is_dir():
            raise SpecError(
                "no such folder", where=str(wanted.profiles), mend="name an earlier search's with --profiles"
            )
        methods = {name: registry.load(name) for name in dict.fromkeys(wanted.methods)}
        spaces = open_spaces(checkout, wanted, progress.say)
        rehearse(spaces, methods, wanted.settings, progress.say)
        every = {inventory: read_inventory(inventory) for inventory in wanted.sites.values()}
        require_apart(every)
        # All conditions have the same hosts, and all models the same placements.
        hosts = {
            site: hosts_of(spaces[0].experiment, inventory, every[inventory])
            for site, inventory in wanted.sites.items()
        }
        # After all that files may be to blame for.
        image = read_image_facts(checkout)
        plan = wanted.plan(spaces, ground_of(image, *hosts.values()))
        with ExitStack() as taken:
            for inventory, named in every.items():
                taken.enter_context(hosts_taken(inventory, named))
            campaign = taken.enter_context(find(wanted.results, wanted.experiment.name, plan).taken())
            # What is spoilt in its folder shows before a host is asked for anything.
            check_kept(campaign.folder, spaces)
            workers: dict[str, SiteWorker] = {}

            def foresight(site: str, space: Space) -> Foresight:
                return foresee(workers[site], space, wanted.profiles)

            searching = Searching(campaign, spaces, methods, wanted.settings, progress, foresight)
            stages = {
                site: Stage(checkout, inventory, hosts[site], campaign, progress, _home(campaign, wanted, site))
                for site, inventory in wanted.sites.items()
            }
            with journaled(campaign, tuple(stages.values())), ExitStack() as held:
                for stage in stages.values():
                    held.enter_context(stage.limits_on_loan())
                    stage.make_ready(limited_testbed(spaces), deploy=deploy)
                by_id = {space.id: space for space in spaces}
                for site, stage in stages.items():
                    workers[site] = held.enter_context(site_worker(site, stage, image, by_id))
                if "energy" in {*wanted.objective.weights, *wanted.objective.limits}:
                    for worker in workers.values():
                        require_energy(worker.bench, spaces)
                searching.run(tuple(workers.values()))
            for site, stage in stages.items():
                # Where a site is left out, that its logs cannot be had either must not keep the search open.
                with nullcontext() if site in searching.sites else suppress(ProvisionError):
                    stage.gather()
            campaign.complete()
    finally:
        progress.end()
    return campaign


def require_apart(sites: Mapping[Path, Mapping[str, InventoryHost]]) -> None:
    """Refuse a host that two sites have in common: both would drive its agent at once.

    Args:
        sites: inventory -> its hosts.

    Raises:
        SpecError: two have one; it names both and the host.
    """
    for (one, here), (other, there) in combinations(sites.items(), 2):
        known = {host.endpoint: name for name, host in here.items()}
        for name, host in there.items():
            if (same := known.get(host.endpoint)) is not None:
                raise SpecError(
                    f"host {name} is at {host.endpoint}, as {same} of {one}",
                    where=str(other),
                    mend="sites share no host: leave one of them out",
                )


def open_spaces(checkout: Checkout, wanted: SearchWanted, say: Callable[[str], None]) -> list[Space]:
    """Open every model and find its candidates under every condition; no host is asked for anything.

    Raises:
        SpecError: as of `run_search`, as far as files are to blame.
        AgentError: a model cannot be opened.
    """
    search, spaces = wanted.search, []
    models = _chosen("model", wanted.models, model_names(search.models))
    conditions = _chosen("condition", wanted.conditions, conditions_of(wanted.experiment, search))
    for name, choice in models.items():
        opened = open_choice(choice, image=image_if_built(checkout), say=say)
        cut = resolve_cuts(replace(wanted.experiment, model=choice), opened)
        sliced = slice_model(cut, opened)
        for condition, (under, configuration) in conditions.items():
            space = space_of(
                replace(cut, testbed=under.testbed),
                search,
                opened,
                sliced,
                model=name,
                condition=condition,
                configuration=configuration,
                frames=wanted.frames,
            )
            spaces.append(space)
    return spaces


def model_names(choices: Iterable[ModelChoice]) -> dict[str, ModelChoice]:
    """Models by the names that tables have: that of the zoo or of the file; a number follows where it is taken."""
    found: dict[str, ModelChoice] = {}
    for choice in choices:
        name = base = PurePath(choice.argument).stem
        number = 1
        while name in found:
            number += 1
            name = f"{base}-{number}"
        found[name] = choice
    return found


def _chosen(kind: str, asked: tuple[str, ...] | None, known: dict[str, T]) -> dict[str, T]:
    if asked is None:
        return known
    if unknown := [name for name in asked if name not in known]:
        raise SpecError(f'unknown {kind} "{unknown[0]}"', mend=f"allowed: {', '.join(known)}")
    return {name: each for name, each in known.items() if name in asked}


def _home(campaign: Campaign, wanted: SearchWanted, site: str) -> Path:
    """Where a site's logs go: hosts of several sites have the same names."""
    return campaign.folder if len(wanted.sites) == 1 else campaign.folder / "sites" / site.replace("/", "_")
