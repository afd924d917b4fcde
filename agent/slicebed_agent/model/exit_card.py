"""What is known of an early-exit head: the small JSON that goes with its graph file."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from slicebed_agent.errors import AgentConfigError
from slicebed_agent.model.card import TensorCard, Weights, WeightsKind, tensor_cards
from slicebed_agent.model.digits import DATA

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slicebed_agent.model.card import ModelCard

_FORMAT: Final = 1
_TRAIN: Final = "train it: slicebed-agent train-exit"


@dataclasses.dataclass(frozen=True, slots=True)
class Confident:
    """The held-out pictures of which a head is at least so sure.

    Attributes:
        threshold: of the largest probability.
        share: of the held-out pictures; 0 to 1.
        accuracy: of the answers about those; None where there are none.
        other_accuracy: of the answers about all others; None where there are none.
    """

    threshold: float
    share: float
    accuracy: float | None
    other_accuracy: float | None


@dataclasses.dataclass(frozen=True)
class HeadCard:
    """What is known of a head without reading its graph.

    Attributes:
        model: name of the model that it was trained on.
        model_sha256: hash of that model's frozen graph, which other versions of TensorFlow write in other bytes.
        weights: where that model's weights come from.
        after: the split point, as the user named it.
        boundary: the tensors of the model that cross there, in the order in which the head is fed them.
        feeds: the head's own inputs, one for each of those.
        fetch: the head's own output: probabilities, batch x classes.
        classes: how many.
        head_sha256: hash of the head's graph file.
        head_bytes: its size.
        seed: drew the split of the pictures (of the digits: their own), the first weights and the order.
        epochs: passes over the training pictures.
        train_images: how many the head was trained on.
        held_out_images: how many it never saw, on which all figures here were measured.
        held_out_accuracy: of the head.
        confident: the same at thresholds, in ascending order.
        versions: of what trained it.
    """

    model: str
    model_sha256: str
    weights: Weights
    after: str
    boundary: tuple[TensorCard, ...]
    feeds: tuple[str, ...]
    fetch: str
    classes: int
    head_sha256: str
    head_bytes: int
    seed: int
    epochs: int
    train_images: int
    held_out_images: int
    held_out_accuracy: float
    confident: tuple[Confident, ...]
    versions: Mapping[str, str]

    def to_json(self) -> str:
        """What `from_json` reads."""
        return json.dumps({"format": _FORMAT, **dataclasses.asdict(self)}, indent=1) + "\n"

    def misfit(self, model: ModelCard, graph_sha256: str) -> str | None:
        """Whose weights the head was trained on, and whose these are; None where they are the same, or nobody knows.

        Args:
            model: that the head is to judge.
            graph_sha256: of its frozen graph: an equal one settles it, another one says nothing.
        """
        theirs, ours = (self.model, self.weights), (model.name, model.weights)
        if graph_sha256 == self.model_sha256 or not (_is_known(self.weights) and _is_known(model.weights)):
            return None
        # A seed draws other weights for another model; a file is what it is under any name.
        same = theirs == ours if self.weights.kind is WeightsKind.SEED else self.weights == model.weights
        return None if same else f"trained on {_named(*theirs)}, and this is {_named(*ours)}"

    @classmethod
    def from_json(cls, text: str, *, where: str) -> HeadCard:
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
            boundary = tensor_cards(fields.pop("boundary"))
            confident = tuple(Confident(**row) for row in fields.pop("confident"))
            feeds = tuple(fields.pop("feeds"))
            weights = fields.pop("weights")
            weights = Weights(**{**weights, "kind": WeightsKind(weights["kind"])})
            return cls(boundary=boundary, confident=confident, feeds=feeds, weights=weights, **fields)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise AgentConfigError(f"not a card of an early-exit head: {error}", where=where, mend=_TRAIN) from error


def _is_known(weights: Weights) -> bool:
    return (weights.seed if weights.kind is WeightsKind.SEED else weights.sha256) is not None


def _named(model: str, weights: Weights) -> str:
    detail = str(weights.seed) if weights.kind is WeightsKind.SEED else (weights.sha256 or "")[:12]
    kind = "its trained weights" if weights.kind is WeightsKind.TRAINED else f"weights of {weights.kind}"
    return f"{model} with {kind} {detail}"


def find_head(named: str, beside: Path | None = None) -> tuple[Path, HeadCard]:
    """A head's graph file and its card.

    Args:
        named: a path of a ``.pb``, or the name of a head of the package, such as ``cnn14_layer3.pb``.
        beside: folder that a relative path is looked for in first.

    Raises:
        AgentConfigError: there is no such file, or its card is missing or damaged.
    """
    places = [Path(named) if beside is None else beside / named]
    if Path(named).name == named:
        places.append(DATA / named)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        packaged = ", ".join(sorted(each.name for each in DATA.glob("*.pb")))
        raise AgentConfigError("no such early-exit head", where=named, mend=f"{_TRAIN}; the package has {packaged}")
    card = card_of(path)
    try:
        text = card.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise AgentConfigError(f"the head's card cannot be read: {error}", where=str(card), mend=_TRAIN) from error
    return path, HeadCard.from_json(text, where=str(card))


def card_of(head: Path) -> Path:
    """Where the card of a head's graph file lies."""
    return head.with_suffix(".json")
