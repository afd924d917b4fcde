"""A model as the command line names it: opened, read, and its split points at the level asked for."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from slicebed_agent.model.cuts import algorithms
from slicebed_agent.model.cuts.choose import choose
from slicebed_agent.model.cuts.layers import layer_points
from slicebed_agent.model.load import open_model

if TYPE_CHECKING:
    from collections.abc import Sequence

    from slicebed_agent.model.graph import Graph, Operator, SplitPoint, Tensor
    from slicebed_agent.model.load import FrozenModel
    from slicebed_agent.model.source import ModelSource


class Level(StrEnum):
    """How fine a model is looked at."""

    OPERATOR = "op"
    LAYER = "layer"


@dataclass(frozen=True)
class LayerRow:
    """A layer, from the operators that belong to it.

    Attributes:
        name: of the layer.
        kind: its Keras class; empty where layers are name scopes.
        operators: how many.
        outputs: its tensors that operators outside it take, or that leave the model.
        parameters: weights that its operators use.
        flops: for one frame.
    """

    name: str
    kind: str
    operators: int
    outputs: tuple[Tensor, ...]
    parameters: int
    flops: int


@dataclass(frozen=True)
class OpenedModel:
    """A frozen model and its graph at operator level."""

    frozen: FrozenModel
    graph: Graph

    @property
    def name(self) -> str:
        """Of the zoo, or of the file."""
        return self.frozen.card.name

    def about(self) -> dict[str, Any]:
        """What every answer with ``--json`` says of the model."""
        return {
            "model": self.name,
            "weights": str(self.frozen.card.weights),
            "operators": len(self.graph.operators),
            "parameters": self.graph.parameters,
            "flops": self.graph.flops,
        }

    def summary(self) -> str:
        """The same in a line."""
        parameters, flops = self.graph.parameters / 1e6, self.graph.flops / 1e9
        return (
            f"{self.name}: {len(self.graph.operators):,} operators, {parameters:.2f} M parameters,"
            f" {flops:.2f} GFLOP a frame; weights: {self.frozen.card.weights}"
        )

    def rows(self, level: Level) -> list[dict[str, Any]]:
        """Its operators or layers, as ``slicebed model inspect --json`` prints them."""
        every: tuple[LayerRow | Operator, ...] = self.layers() if level is Level.LAYER else self.graph.operators
        rows = [{**asdict(row), "outputs": [tensor_to_plain(each) for each in row.outputs]} for row in every]
        if level is Level.OPERATOR:
            for row, operator in zip(rows, self.graph.operators, strict=True):
                row["parameters"] = self.graph.parameters_of(operator)
        return rows

    def split_points(
        self, level: Level = Level.OPERATOR, algorithm: str = "exact", max_tensors: int = 1
    ) -> tuple[SplitPoint, ...]:
        """Every split point that an algorithm finds, in the model's order.

        Raises:
            AgentConfigError: there is no such algorithm; or ``max_tensors`` is not positive.
        """
        points = algorithms.split_points(self.graph, algorithm, max_tensors)
        return points if level is Level.OPERATOR else layer_points(self.graph, points)

    def cut(self, names: Sequence[str], max_tensors: int = 1, algorithm: str = "exact") -> tuple[SplitPoint, ...]:
        """An algorithm's split points of these names, of operators or of layers, one for each boundary.

        Raises:
            AgentConfigError: there is no such point (with the nearest names), or their order goes backwards.
        """
        points = self.split_points(Level.OPERATOR, algorithm, max_tensors)
        taken = {point.name for point in points}
        by_layer = [point for point in layer_points(self.graph, points) if point.name not in taken]
        # Told apart by its operators' name a layer's point is the operators' point: one place has one name in a result.
        plain = {point.position: point for point in points}
        chosen = choose([*points, *by_layer], names)
        return tuple(replace(point, name=plain[point.position].name) for point in chosen)

    def layers(self) -> tuple[LayerRow, ...]:
        """Its layers in the order in which they begin."""
        kinds = {layer.name: layer.kind for layer in self.frozen.card.layers}
        members: dict[str, list[Operator]] = {}
        for operator in self.graph.operators:
            members.setdefault(operator.layer or operator.name, []).append(operator)
        takers: dict[str, set[str]] = {name: {""} for name in self.graph.outputs}
        for operator in self.graph.operators:
            for name in operator.inputs:
                takers.setdefault(name, set()).add(operator.layer or operator.name)
        return tuple(
            LayerRow(
                name=name,
                kind=kinds.get(name, ""),
                operators=len(inside),
                outputs=tuple(
                    tensor for each in inside for tensor in each.outputs if takers.get(tensor.name, set()) - {name}
                ),
                parameters=sum(
                    constant.elements
                    for key in {key for each in inside for key in each.constants}
                    if (constant := self.graph.constants[key]).is_parameter
                ),
                flops=sum(each.flops for each in inside),
            )
            for name, inside in members.items()
        )


def open_source(source: ModelSource) -> OpenedModel:
    """Freeze the model, or find it frozen already, and read its graph.

    Raises:
        AgentConfigError: the model is unknown, damaged or foreign, or cannot be sliced.
        AgentError: TensorFlow is needed and not installed.
    """
    frozen = open_model(source)
    return OpenedModel(frozen, frozen.read_graph())


def point_to_plain(point: SplitPoint) -> dict[str, Any]:
    """As ``slicebed model cuts --json`` prints it; stable."""
    return {
        "name": point.name,
        "position": point.position,
        "layer": point.layer,
        "tensors": [tensor_to_plain(tensor) for tensor in point.tensors],
        "bytes_per_frame": point.bytes_per_frame,
        "flops_before": point.flops_before,
        "flops_after": point.flops_after,
        "parameters_before": point.parameters_before,
        "parameters_after": point.parameters_after,
    }


def tensor_to_plain(tensor: Tensor) -> dict[str, Any]:
    """As JSON holds it; in the shape null is a dimension that is not known, the batch among them."""
    return {
        "name": tensor.name,
        "dtype": tensor.dtype,
        "shape": None if tensor.shape is None else list(tensor.shape),
        "bytes_per_frame": tensor.bytes_per_frame,
    }
