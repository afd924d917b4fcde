"""What opening a model refuses, said in the words of an experiment: its keys, not a command's options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from slicebed.spec.models import ModelChoice
    from slicebed_agent.errors import OneLineError

# First those of one message each, then the options wherever else they are named.
_WORDS: Final = tuple(
    (re.compile(pattern), words)
    for pattern, words in (
        (r"name (all, each with --input|the inputs that the model has)\b", "name all under input:, in a list"),
        (r"name (those that you mean, each with --output|the outputs that the model has)\b", "name one under output:"),
        (r"name every input$", "name every input under input:, in a list"),
        (r"give the input's shape, for example [0-9,]+", "give input_shape: [H, W, C], without the batch"),
        (r"give the input's shape\b", "give input_shape:"),
        (r"--input-shape H,W,C\b", "input_shape: [H, W, C]"),
        (r"--input-shape \(H,W,C of one frame\)", "input_shape: [H, W, C]"),
        (r"(?<!\S)--input-shape\b", "input_shape:"),
        (r"(?<!\S)--(weights|seed|input|output)\b", r"\1:"),
    )
)


def tell_in_experiment(error: OneLineError, choice: ModelChoice) -> None:
    """Give an error of opening the model its place in the experiment, and what mends it there."""
    inside = error.where
    if inside is not None and "/" not in inside and choice.argument not in inside:
        # A word of the code that refused, or Keras' own name of the model, such as functional_3.
        inside = choice.argument
    error.where = choice.where(inside)
    error.what = _translated(error.what)
    error.mend = None if error.mend is None else _translated(error.mend)


def _translated(text: str) -> str:
    for pattern, words in _WORDS:
        text = pattern.sub(words, text)
    return text
