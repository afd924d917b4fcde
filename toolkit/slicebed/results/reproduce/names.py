"""Models as Couper's tables name them."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from slicebed_agent.model.zoo.entries import find

if TYPE_CHECKING:
    from collections.abc import Mapping

TITLES: Mapping[str, str] = MappingProxyType(
    {
        "vgg16": "VGG 16",
        "mobilenet_v2": "MobileNet V2 1.4",
        "resnet50_v2": "ResNet V2 50",
        "inception_v3": "Inception V3",
        "inception_resnet_v2": "Inception ResNet V2",
        "nasnet_large": "NASNet 331",
        "pnasnet5_large": "PNASNet 331",
    }
)
"""The seven models of Couper's Table 1: name in the zoo -> title in the paper, in the paper's order."""

EDGES: Mapping[str, str] = MappingProxyType(
    {"low": "low-end edge", "mid": "mid-end edge", "high": "high-end edge", "super_high": "super-high-end edge"}
)
"""The edges of Couper's Table 4: condition of the searches -> its row, from the weakest to the strongest."""


def title_of(model: str) -> str:
    """A model as the paper calls it; one that is not the paper's as it is."""
    entry = find(model)
    return model if entry is None else TITLES.get(entry.name, model)


def model_rank(title: str) -> int:
    """The paper's order of models; others come last."""
    titles = list(TITLES.values())
    return titles.index(title) if title in titles else len(titles)


def edge_rank(condition: str) -> int:
    """From the weakest edge to the strongest; other conditions come last."""
    edges = list(EDGES)
    return edges.index(condition) if condition in edges else len(edges)
