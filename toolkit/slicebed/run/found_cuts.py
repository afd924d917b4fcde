"""Cuts that an experiment gives by a rule, found in its opened model."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from slicebed.errors import SpecError
from slicebed.spec.cuts import Cut

if TYPE_CHECKING:
    from slicebed.spec.cuts import CutRule
    from slicebed.spec.experiment import Experiment
    from slicebed.split.model import OpenedModel


def resolve_cuts(experiment: Experiment, opened: OpenedModel) -> Experiment:
    """The experiment with every cut that its rules find in this model, in the model's order.

    An experiment without a rule is given back as it is. The rules stay, so that it can be asked again for another
    model.

    Raises:
        SpecError: a rule finds no split point.
    """
    rules = {placement.rule for placement in experiment.every_placement} - {None}
    if not rules:
        return experiment
    found = {rule: find_cuts(experiment, rule, opened) for rule in rules if rule is not None}
    placements = tuple(
        placement if placement.rule is None else replace(placement, cuts=found[placement.rule])
        for placement in experiment.placements
    )
    cuts = experiment.cuts if experiment.cut_rule is None else found[experiment.cut_rule]
    return replace(experiment, cuts=cuts, placements=placements)


def find_cuts(experiment: Experiment, rule: CutRule, opened: OpenedModel) -> tuple[Cut, ...]:
    """Every cut of one split point that a rule finds.

    A point that the rule takes although its second slice lacks something is left out: Couper's, as published, has some
    (`slicebed_agent.model.cuts.couper`), and they cannot run.

    Raises:
        SpecError: there is none.
    """
    ruled = opened.split_points(algorithm=rule.value)
    most = max((len(point.tensors) for point in ruled), default=1)
    runs = {(point.position, point.name) for point in opened.split_points(max_tensors=most)}
    cuts = tuple(Cut((point.name,)) for point in ruled if (point.position, point.name) in runs)
    if not cuts:
        what = f"cuts: {rule.value} finds no split point in {opened.name}"
        raise SpecError(what, where=str(experiment.path), mend="list cuts, or search placements of one slice")
    return cuts
