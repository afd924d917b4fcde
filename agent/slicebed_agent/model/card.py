"""What is known of a frozen model: the small JSON that goes with its graph file."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_FORMAT: Final = 1


class Source(enum.StrEnum):
    """What the model was before it was frozen."""

    ZOO = "zoo"
    KERAS = "keras"
    SAVED_MODEL = "saved_model"
    GRAPH_DEF = "graph_def"


class WeightsKind(enum.StrEnum):
    """Where the weights come from: trained and part of the package, a seed, or a file of the user."""

    TRAINED = "trained"
    SEED = "seed"
    FILE = "file"


@dataclasses.dataclass(frozen=True, slots=True)
class Weights:
    """Where the weights come from, exactly.

    Attributes:
        kind: see `WeightsKind`.
        seed: of kind seed: the number they were drawn from.
        sha256: of the other kinds: hash of the file (of a folder: of names and contents) that holds them; None where
            it is the graph file itself.
    """

    kind: WeightsKind
    seed: int | None = None
    sha256: str | None = None

    def __str__(self) -> str:
        """As a table shows it: ``trained``, ``seed 7``, ``file 0123456789ab``."""
        detail = self.seed if self.kind is WeightsKind.SEED else (self.sha256 or "")[:12]
        return str(self.kind) if self.kind is WeightsKind.TRAINED else f"{self.kind} {detail}".rstrip()


@dataclasses.dataclass(frozen=True, slots=True)
class TensorCard:
    """An input or output of the model.

    Attributes:
        name: ``operator:k`` in the frozen graph.
        dtype: as numpy names it.
        shape: None in it is a free dimension; None where not even the number of dimensions is known.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclasses.dataclass(frozen=True, slots=True)
class LayerCard:
    """One call of a layer: a layer that the model uses twice has two.

    Attributes:
        name: unique; of a nested model's layer ``model/layer``; of a layer's second call ``layer.2``.
        kind: its Keras class.
        outputs: the tensors of the frozen graph that it returns; of one that only passes on, those that it got.
        operators: what it computes, by name: operators of the frozen graph that depend on the model's input.
        parameters: number of its weights, whichever call this is.
    """

    name: str
    kind: str
    outputs: tuple[str, ...]
    operators: tuple[str, ...]
    parameters: int


@dataclasses.dataclass(frozen=True)
class ModelCard:
    """What is known of a frozen model without reading its graph.

    Attributes:
        name: of the zoo, or of the file.
        source: what it was.
        inputs: in the order in which they are fed.
        outputs: in the order in which they are fetched.
        layers: every call of every layer, in the order of computation; empty where there is no layer table.
        layers_note: why there is none; empty where there is one.
        weights: where they come from.
        parameters: number of weights, running statistics included.
        graph_sha256: hash of the graph file; None of a `.pb` that is used as it is.
        graph_bytes: its size.
        versions: of what froze it.
    """

    name: str
    source: Source
    inputs: tuple[TensorCard, ...]
    outputs: tuple[TensorCard, ...]
    layers: tuple[LayerCard, ...]
    layers_note: str
    weights: Weights
    parameters: int
    graph_sha256: str | None
    graph_bytes: int
    versions: Mapping[str, str]

    def layer_of(self) -> dict[str, str]:
        """The layer of every operator that belongs to one."""
        return {operator: layer.name for layer in self.layers for operator in layer.operators}

    def to_json(self) -> str:
        """What `from_json` reads; the same card always gives the same text."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> ModelCard:
        """Read a card.

        Args:
            text: what `to_json` wrote.
            where: the file, for the error.

        Raises:
            AgentConfigError: it is no card, or one of another format.
        """
        try:
            fields: dict[str, Any] = json.loads(text)
            if fields.pop("format") != _FORMAT:
                raise ValueError("another format")  # noqa: TRY301 - one place tells the reader what to do
            return cls(
                **{
                    **fields,
                    "source": Source(fields["source"]),
                    "inputs": tensor_cards(fields["inputs"]),
                    "outputs": tensor_cards(fields["outputs"]),
                    "layers": tuple(_layer(layer) for layer in fields["layers"]),
                    "weights": Weights(**{**fields["weights"], "kind": WeightsKind(fields["weights"]["kind"])}),
                }
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AgentConfigError(f"not a model card: {error}", where=where, mend="freeze the model again") from error


def tensor_cards(rows: list[dict[str, Any]]) -> tuple[TensorCard, ...]:
    """Tensors as a card's JSON has them.

    Raises:
        KeyError: a field is missing.
        TypeError: the rows are something else.
    """
    return tuple(
        TensorCard(row["name"], row["dtype"], None if row["shape"] is None else tuple(row["shape"])) for row in rows
    )


def _layer(row: dict[str, Any]) -> LayerCard:
    return LayerCard(row["name"], row["kind"], tuple(row["outputs"]), tuple(row["operators"]), row["parameters"])
