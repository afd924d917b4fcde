"""Runs the campaigns behind published tables and figures, one after the other, into one folder."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from slicebed.errors import (
    ConflictError,
    InterruptedRunError,
    MissingRequirementError,
    RunError,
    SpecError,
)
from slicebed.run.campaign import Wanted, run_campaign
from slicebed.run.reproduce_parts import every_target, is_deployed_for, parts_of, plan_part
from slicebed.run.reproduction import FAILED, KIND, OPEN, WHOLE, Reproduction
from slicebed.run.search.engine import SearchWanted, model_names, run_search
from slicebed.run.sliced_model import source_of
from slicebed.run.stage import ground_of
from slicebed.run.store import Campaign, begun_otherwise, now, write_json
from slicebed.spec.experiment import load_experiment
from slicebed.testbed.image import read_image_facts
from slicebed.testbed.inventory import read_inventory
from slicebed_agent.errors import OneLineError
from slicebed_agent.model.load import is_frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from slicebed.run.progress import Progress
    from slicebed.run.reproduce_parts import Part, Planned
    from slicebed.spec.experiment import Experiment
    from slicebed.spec.models import ModelChoice
    from slicebed.testbed.checkout import Checkout
    from slicebed.testbed.inventory import InventoryHost

    Play = Callable[[Part, Path, bool, bool], None]

_RAISE = "run: slicebed lab up -t inventory/testbeds/lab_table4_mid.yml"


@dataclass(frozen=True)
class ReproduceWanted:
    """What is to be reproduced, on which hosts, where the results go."""

    targets: tuple[str, ...]
    inventory: Path
    results: Path
    quick: bool = False


def plan(checkout: Checkout, targets: Sequence[str], *, quick: bool) -> tuple[Planned, ...]:
    """What these targets will take, part by part.

    Raises:
        SpecError: no such target, or an experiment file is wrong.
    """
    parts = parts_of(targets, quick=quick)
    return tuple(
        plan_part(part, _experiment_of(checkout, part), first=number == 0) for number, part in enumerate(parts)
    )


def models_to_freeze(checkout: Checkout, planned: Iterable[Planned]) -> tuple[str, ...]:
    """The models that the user's cache does not have, which takes time beside the plan's.

    Raises:
        AgentError: a model that there is not, or whose file cannot be read.
    """
    choices = (choice for each in planned for choice in _models_of(each.part, _experiment_of(checkout, each.part)))
    frozen: dict[ModelChoice, bool] = {}
    for choice in choices:
        if choice not in frozen:
            frozen[choice] = is_frozen(source_of(choice))
    return tuple(dict.fromkeys(choice.argument for choice, kept in frozen.items() if not kept))


def reproduce(  # noqa: PLR0913 - as `run_campaign`, and what is said between campaigns
    checkout: Checkout,
    wanted: ReproduceWanted,
    progress: Progress,
    say: Callable[[str], None],
    *,
    resume: bool = False,
    deploy: bool = True,
) -> Reproduction:
    """Run every part that the targets need; a failed one does not keep the others from being run.

    Args:
        checkout: where the experiments and playbooks are.
        wanted: what, on which hosts.
        progress: told what goes on in a part.
        say: told which part begins, how one failed, and which reproductions --resume cannot read.
        resume: go on with the newest reproduction of these targets in this form that is not whole: what is whole is not
            run again, and a campaign that was begun is gone on with.
        deploy: make sure first that the agents are deployed and running; False when they surely are.

    Returns:
        The reproduction, whose parts say which failed.

    Raises:
        SpecError: no such target, nothing to resume, or the inventory lacks a link.
        MissingRequirementError: no inventory, image or the like; no other part would do better.
        ConflictError: something else uses the hosts.
        InterruptedRunError: Ctrl-C; what was measured is kept.
    """
    parts = parts_of(wanted.targets, quick=wanted.quick)
    # A mistake in a file shows before anything is begun.
    experiments = {part.name: part.of(_experiment_of(checkout, part)) for part in parts}
    # So does a lab that lacks a link, which most of the parts would otherwise meet one after the other.
    hosts = _require_links(wanted.inventory, experiments.values())
    ground = ground_of(read_image_facts(checkout), hosts)

    def play(part: Part, results: Path, resume: bool, deploy: bool) -> None:  # noqa: FBT001 - as `play_parts` calls it
        _play(
            checkout,
            experiments[part.name],
            part,
            progress,
            inventory=wanted.inventory,
            results=results,
            resume=resume,
            deploy=deploy,
        )

    found = find_reproduction(wanted, ground, say) if resume else create_reproduction(wanted, parts, ground)
    play_parts(found, parts, play, say, deploy=deploy)
    return found


def create_reproduction(wanted: ReproduceWanted, parts: Sequence[Part], ground: Mapping[str, Any]) -> Reproduction:
    """Make the folder of a new reproduction; it keeps what `ground_of` gives.

    Raises:
        SpecError: its name is taken, by one of this second.
    """
    folder = wanted.results / f"{KIND}-{datetime.now(UTC).strftime('%Y%m%dT%H%M%SZ')}"
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        raise SpecError("there is such a folder", where=str(folder), mend="try again") from None
    state = {
        "kind": KIND,
        "created_at": now(),
        "targets": list(every_target(wanted.targets)),
        "quick": wanted.quick,
        **ground,
        "parts": {part.name: {"status": OPEN, "error": None, "seconds": 0.0} for part in parts},
    }
    write_json(Reproduction(folder).path, state)
    return Reproduction(folder)


def find_reproduction(wanted: ReproduceWanted, ground: Mapping[str, Any], say: Callable[[str], None]) -> Reproduction:
    """The newest reproduction of these targets, in this form, on the same ground, that is not whole.

    Args:
        wanted: what.
        ground: as `ground_of` gives it.
        say: told of each that cannot be read and may have been meant, since an older one is gone on with then.

    Raises:
        SpecError: there is none that can be read; it says what is different of the newest one on another ground.
    """
    unreadable, others = 0, []
    for folder in sorted(wanted.results.glob(f"{KIND}-*"), reverse=True):
        found = Reproduction(folder)
        if not found.is_begun:
            continue
        try:
            state = found.state
        except SpecError as error:
            say(f"passed over: {error}")
            unreadable += 1
            continue
        same = found.targets == every_target(wanted.targets) and state["quick"] is wanted.quick
        if same and not found.is_whole:
            if (other := begun_otherwise(folder, state, ground)) is None:
                return found
            others.append(other)
    if others:
        raise others[0]
    form = " in its quick form" if wanted.quick else ""
    beside = f" among those that can be read; {unreadable} cannot" if unreadable else ""
    raise SpecError(
        f"no unfinished reproduction of {', '.join(wanted.targets)}{form}{beside}",
        where=str(wanted.results),
        mend="restore what was named above, or run without --resume" if unreadable else "run without --resume",
    )


def play_parts(
    reproduction: Reproduction, parts: Sequence[Part], play: Play, say: Callable[[str], None], *, deploy: bool = True
) -> None:
    """Play what is not whole, one part after the other, and write down how each ended.

    Args:
        reproduction: where.
        parts: all of them, in order.
        play: runs a part's campaign into a folder, resumed or not, with agents deployed first or not.
        say: told which part begins, and how one failed.
        deploy: for the first part; later ones find its agents, unless one failed.

    Raises:
        MissingRequirementError, ConflictError: as of `play`: every other part would meet the same.
        InterruptedRunError: as of `play`.
    """
    for number, part in enumerate(parts, start=1):
        if reproduction.parts.get(part.name, {}).get("status") == WHOLE:
            continue
        begun = reproduction.campaign_of(part.name)
        begin = time.monotonic()
        if begun is not None and is_finished(begun):
            reproduction.note(part.name, WHOLE, None, 0.0)
            continue
        say(f"part {number} of {len(parts)}: {part.name} (experiments/{part.file}, for {', '.join(part.targets)})")
        try:
            play(part, reproduction.home_of(part.name), begun is not None, deploy)
        except (MissingRequirementError, ConflictError, InterruptedRunError):
            raise
        except OneLineError as error:
            reproduction.note(part.name, FAILED, str(error), time.monotonic() - begin)
            say(f"part {part.name} failed: {error}")
            # Whatever it was may have ended an agent.
            deploy = True
        else:
            reproduction.note(part.name, WHOLE, None, time.monotonic() - begin)
            deploy = False


def is_finished(folder: Path) -> bool:
    """Whether a campaign has nothing left to run."""
    campaign = Campaign(folder)
    runs = campaign.plan.get("runs")
    return campaign.is_complete or bool(runs and all(campaign.is_done(run) for run in runs))


def require_whole(reproduction: Reproduction) -> None:
    """Raise for parts that failed.

    Raises:
        RunError: some failed; it names them.
    """
    failed = [name for name, part in reproduction.parts.items() if part["status"] != WHOLE]
    if failed:
        raise RunError(
            f"{len(failed)} of {len(reproduction.parts)} campaigns failed: {', '.join(failed)}",
            where=str(reproduction.folder),
            mend="what they leave open is in the report; go on with --resume",
        )


def _require_links(inventory: Path, experiments: Iterable[Experiment]) -> Mapping[str, InventoryHost]:
    """Refuse hosts that lack a link which the frames of some experiment pass; give the hosts."""
    if not inventory.is_file():
        raise MissingRequirementError("no such inventory", where=str(inventory), mend=_RAISE)
    found = read_inventory(inventory)
    for a, b in dict.fromkeys(pair for experiment in experiments for pair in experiment.pairs):
        if a not in found or b not in {link.peer for link in found[a].links}:
            raise SpecError(f"no link between {a} and {b}", where=str(inventory), mend=_RAISE)
    return found


def _models_of(part: Part, experiment: Experiment) -> Iterable[ModelChoice]:
    if experiment.search is None:
        return (experiment.model,)
    named = model_names(experiment.search.models)
    return [choice for name, choice in named.items() if part.models is None or name in part.models]


def _experiment_of(checkout: Checkout, part: Part) -> Experiment:
    return load_experiment(checkout.root / "experiments" / part.file)


def _play(  # noqa: PLR0913 - all that a campaign is given
    checkout: Checkout,
    experiment: Experiment,
    part: Part,
    progress: Progress,
    *,
    inventory: Path,
    results: Path,
    resume: bool,
    deploy: bool,
) -> None:
    """Run the campaign of one part."""
    if experiment.search is None:
        runs = Wanted(experiment=experiment, inventory=inventory, results=results, frames=part.frames)
        run_campaign(checkout, runs, progress, resume=resume, deploy=deploy)
        return
    search = experiment.search
    searched = SearchWanted(
        experiment=experiment,
        inventory=inventory,
        results=results,
        methods=part.methods or search.methods,
        objective=search.objective,
        budget=part.budget or search.budget,
        models=part.models,
        conditions=part.conditions,
        frames=part.frames,
        seed=experiment.order.seed,
    )
    run_search(checkout, searched, progress, resume=resume, deploy=deploy or is_deployed_for(experiment))
