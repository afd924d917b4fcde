"""A campaign's model: where each of the experiment's cuts divides it, by the names of the tensors that cross."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from slicebed.errors import SpecError
from slicebed.run.exits import heads_of
from slicebed.run.pictures import pictures_of, transform_of
from slicebed.spec.model_words import tell_in_experiment
from slicebed.spec.models import LAYER_KINDS, ModelChoice
from slicebed.spec.problems import SpecErrors
from slicebed.split.obtain import obtain_model
from slicebed_agent.errors import AgentConfigError, AgentError
from slicebed_agent.model.source import ModelSource

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slicebed.run.exits import Head
    from slicebed.run.files import RunFile
    from slicebed.run.pictures import Transform
    from slicebed.spec.cuts import Cut
    from slicebed.spec.experiment import Experiment
    from slicebed.split.model import OpenedModel
    from slicebed.testbed.image import ImageFacts

Boundary = tuple[str, ...]


@dataclass(frozen=True)
class SlicedModel:
    """An opened model and its boundaries.

    Attributes:
        name: of the zoo, or of the file.
        sha256: of its frozen graph, by which the agents find it.
        weights: where they come from, as tables show it.
        answer: the tensor that the chain's answers are held against.
        boundaries: of every cut: the tensors that the model is fed, those that cross at each split point, and those
            that it answers with.
        feeds: what the whole model is fed.
        transform: of the camera's pictures; None where it has none.
        pictures: the camera's video, or its folder as a ZIP file.
        heads: of every cut: its early exits, by the slice that they follow, counted from 0.
    """

    name: str
    sha256: str
    weights: str
    answer: str
    boundaries: Mapping[Cut, tuple[Boundary, ...]]
    feeds: Boundary = ()
    transform: Transform | None = None
    pictures: RunFile | None = None
    heads: Mapping[Cut, Mapping[int, Head]] = field(default_factory=lambda: MappingProxyType({}))

    def heads_of(self, cut: Cut) -> Mapping[int, Head]:
        """The early exits of a cut, by the slice that they follow, counted from 0."""
        return self.heads.get(cut, {})

    def slices(self, cut: Cut) -> tuple[tuple[Boundary, Boundary], ...]:
        """What every slice is fed and what it hands on."""
        return tuple(pairwise(self.boundaries[cut]))

    def stage(self, cut: Cut, tier: int) -> str:
        """A slice, counted from 0, as an error line names it."""
        if not cut.points:
            return "slice (the whole model)"
        if cut.layers is not None:
            first, last = cut.slices(len(LAYER_KINDS[self.name]))[tier]
            return f"slice (layers {first} to {last})"
        feeds, fetches = self.slices(cut)[tier]
        return f"slice ({'+'.join(feeds)} to {'+'.join(fetches)})"

    def to_plain(self) -> dict[str, Any]:
        """As manifests hold it."""
        plain: dict[str, Any] = {"name": self.name, "graph_sha256": self.sha256, "weights": self.weights}
        if self.pictures is not None:
            plain["pictures_sha256"] = self.pictures.sha256
        heads = {head.file.sha256 for exits in self.heads.values() for head in exits.values()}
        return plain | ({"exit_heads_sha256": sorted(heads)} if heads else {})


def source_of(choice: ModelChoice) -> ModelSource:
    """What the model is opened by."""
    return ModelSource(
        choice.argument,
        weights=choice.weights,
        seed=choice.seed,
        input_shape=choice.input_shape,
        inputs=choice.inputs,
        outputs=None if choice.output is None else (choice.output,),
    )


def open_experiment(
    experiment: Experiment, *, image: ImageFacts | None, say: Callable[[str], None]
) -> tuple[OpenedModel, SlicedModel]:
    """Open the experiment's model and look up every cut in it, as `open_choice` and `slice_model` do."""
    opened = open_choice(experiment.model, image=image, say=say)
    return opened, slice_model(experiment, opened)


def open_choice(choice: ModelChoice, *, image: ImageFacts | None, say: Callable[[str], None]) -> OpenedModel:
    """Open a model that an experiment names; no host is asked for anything.

    Args:
        choice: the model.
        image: the agent image last built, which freezes the model where TensorFlow is not installed; None without one.
        say: told, in a few words, when something begins that takes a moment.

    Raises:
        AgentError: the model is unknown, damaged or foreign, or cannot be sliced; with the place of ``model:`` in the
            experiment.
        SpecError: the same, found by the agent image.
        MissingRequirementError: the model has to be frozen, and there is neither TensorFlow nor an agent image.
        ProvisionError: the agent image could not freeze it.
    """
    try:
        return obtain_model(source_of(choice), image=image, say=say)
    except (AgentError, SpecError) as error:
        tell_in_experiment(error, choice)
        raise


def slice_model(experiment: Experiment, opened: OpenedModel) -> SlicedModel:
    """Look up every cut of the experiment in its model.

    Raises:
        SpecErrors: a cut that the model does not have, each with its place in the experiment and the nearest names.
        SpecError: the model's input takes no frames such as the experiment's, or an early exit does not fit its cut.
    """
    _require_frames(experiment, opened)
    boundaries: dict[Cut, tuple[Boundary, ...]] = {}
    lines = []
    for cut in experiment.every_cut:
        try:
            boundaries[cut] = (opened.graph.inputs, *_points(cut, opened), opened.graph.outputs)
        except AgentConfigError as error:
            lines.append(str(SpecError(error.what, where=cut.place, mend=error.mend)))
    if lines:
        raise SpecErrors(lines)
    return SlicedModel(
        name=opened.name,
        sha256=opened.frozen.graph_sha256(),
        weights=str(opened.frozen.card.weights),
        answer=opened.graph.outputs[0],
        boundaries=boundaries,
        feeds=tuple(opened.graph.inputs),
        transform=transform_of(experiment, opened) if experiment.source.images.are_pictures else None,
        pictures=pictures_of(experiment.source),
        heads=heads_of(experiment, opened, boundaries),
    )


def _points(cut: Cut, opened: OpenedModel) -> tuple[Boundary, ...]:
    if not cut.points:
        return ()
    if cut.layers is not None:
        after = _layer_outputs(opened)
        return tuple(after[number - 1] for number in cut.layers)
    names = [str(name) for name in cut.points]
    # The name of a place where several tensors cross is theirs, joined.
    most = max(name.count("+") + 1 for name in names)
    return tuple(tuple(tensor.name for tensor in point.tensors) for point in opened.cut(names, most))


def _layer_outputs(opened: OpenedModel) -> tuple[Boundary, ...]:
    """What every layer hands over, in the order of the paper's table, which the model must be."""
    layers = [layer for layer in opened.frozen.card.layers if layer.kind != "InputLayer"]
    kinds = tuple(layer.kind for layer in layers)
    if kinds != LAYER_KINDS.get(opened.name):
        what = f"{opened.name} has other layers ({len(kinds)}) than those that the numbers mean"
        mend = f"numbers are of {', '.join(LAYER_KINDS)}; name split points, which slicebed model cuts lists"
        raise AgentConfigError(what, where="cut", mend=mend)
    return tuple(layer.outputs for layer in layers)


def _require_frames(experiment: Experiment, opened: OpenedModel) -> None:
    """Refuse a model that the experiment's camera cannot feed, or whose answer is not one tensor."""
    where, batch_size = experiment.model.where(opened.name), experiment.source.batch_size
    outputs = opened.graph.outputs
    if len(outputs) != 1:
        what = f"{len(outputs)} outputs: {', '.join(outputs)}"
        raise SpecError(what, where=where, mend="name one under output:")
    for tensor in opened.frozen.card.inputs:
        batch = tensor.shape[0] if tensor.shape else None
        if batch not in {None, batch_size}:
            what = f"it takes batches of {batch} only, source.batch_size is {batch_size}"
            raise SpecError(what, where=where, mend=f"give source.batch_size: {batch}")
