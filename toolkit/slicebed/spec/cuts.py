"""A cut as an experiment names it: layer numbers joined by hyphens, or the names of split points."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise

_NUMBERS = re.compile(r"[0-9]{1,6}(-[0-9]{1,6})*", re.ASCII)
# Of any length: what a person would read as numbers.
_DIGITS = re.compile(r"[0-9]+(-[0-9]+)*", re.ASCII)
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_]+", re.ASCII)
_DIGEST_DIGITS = 8
# With a campaign and a configuration of usual length a run's name stays within the agents' 128 characters.
_LONGEST_LABEL = 64
WHOLE = "whole"
"""The label of a model that is not cut."""


class CutRule(StrEnum):
    """By what rule cuts are found in the opened model, where the file lists none."""

    COUPER = "couper"


@dataclass(frozen=True)
class Cut:
    """Where the model is cut: what each host but the last hands over after.

    Attributes:
        points: layer numbers, strictly increasing, or names of split points, all of one kind; none of a model that is
            left whole.
        place: ``file:line:column`` where the experiment names it; for errors.
    """

    points: tuple[int, ...] | tuple[str, ...]
    place: str | None = field(default=None, compare=False)

    @property
    def layers(self) -> tuple[int, ...] | None:
        """The layer numbers; None of a cut by names, and of none at all."""
        if not self.points:
            return None
        numbers = tuple(point for point in self.points if isinstance(point, int))
        return numbers if len(numbers) == len(self.points) else None

    @property
    def label(self) -> str:
        """One word for the cut, fit for a file name: ``1-8``, ``block_3_add-block_13_project``.

        It is a function of the points alone (``whole`` without any), and different for different ones: where a name
        must be altered or cut short, or could be read otherwise, some digits of a hash of the names follow.
        """
        if not self.points:
            return WHOLE
        if self.layers is not None:
            return "-".join(map(str, self.layers))
        names = [str(point) for point in self.points]
        label = "-".join(names)
        plain = all(_PLAIN_NAME.fullmatch(name) for name in names) and not _DIGITS.fullmatch(label)
        if plain and len(label) <= _LONGEST_LABEL:
            return label
        # Of a long name the end says most: scopes come first.
        room = (_LONGEST_LABEL - _DIGEST_DIGITS) // len(names) - 1
        short = [re.sub(r"[^A-Za-z0-9_]", "_", name)[-max(room, 1) :] for name in names]
        hashed = "-".join([*short, digest(*names)])
        return f"x{hashed}" if _DIGITS.fullmatch(hashed) else hashed

    def slices(self, layers: int) -> tuple[tuple[int, int], ...]:
        """First and last layer of every host of the chain, counted from 1, both included; of a cut by numbers."""
        edges = (0, *(self.layers or ()), layers)
        return tuple((first + 1, last) for first, last in pairwise(edges))


def layer_numbers(value: object) -> tuple[int, ...] | None:
    """The layer numbers of ``"1-8"`` (or of ``8``, a cut of one point); None when it is neither."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not is_numbers(text):
        return None
    return tuple(int(point) for point in text.split("-"))


def point_names(value: object) -> tuple[str, ...] | None:
    """The names of a list of names; None when it is none."""
    if not isinstance(value, list) or not value:
        return None
    names = tuple(name for name in value if isinstance(name, str) and name.strip() == name != "")
    return names if len(names) == len(value) else None


def cut_of(value: object) -> Cut | None:
    """What an experiment's file holds as a cut; None when it is none."""
    numbers = layer_numbers(value)
    if numbers is not None:
        return Cut(numbers)
    names = point_names(value)
    return None if names is None else Cut(names)


def cut_rule_of(value: object) -> CutRule | None:
    """The rule of ``couper`` or ``{rule: couper}``; None when it is none."""
    word = value["rule"] if isinstance(value, dict) and set(value) == {"rule"} else value
    return CutRule(word) if isinstance(word, str) and word in list(CutRule) else None


def is_numbers(label: str) -> bool:
    """Whether a label is one of layer numbers."""
    return _NUMBERS.fullmatch(label) is not None


def digest(*words: str) -> str:
    """A few hexadecimal digits that tell these words from others."""
    return hashlib.sha256("\n".join(words).encode()).hexdigest()[:_DIGEST_DIGITS]
