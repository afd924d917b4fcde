"""What the command line says of a model, said to somebody who wrote an experiment."""

from __future__ import annotations

import pytest

from slicebed.errors import SpecError
from slicebed.spec.model_words import tell_in_experiment
from slicebed.spec.models import ModelChoice
from slicebed_agent.errors import AgentConfigError

CHOICE = ModelChoice("net.keras", place="my.yml:3:1")


@pytest.mark.parametrize(
    ("mend", "told"),
    [
        ("give --input-shape", "give input_shape:"),
        ("give --input-shape (H,W,C of one frame)", "give input_shape: [H, W, C]"),
        ("give the size of one frame (--input-shape H,W,C)", "give the size of one frame (input_shape: [H, W, C])"),
        (
            "give the input's shape, for example 1,224,224,3",
            "give input_shape: [H, W, C], without the batch",
        ),
        (
            "give the input's shape; sizes that depend on the data cannot be sliced",
            "give input_shape:; sizes that depend on the data cannot be sliced",
        ),
        ("name all, each with --input", "name all under input:, in a list"),
        ("name every input", "name every input under input:, in a list"),
        ("name those that you mean, each with --output", "name one under output:"),
        ("name the outputs that the model has", "name one under output:"),
        ("check --weights", "check weights:"),
        ("nearest: one--input, --inputs, a--seed", "nearest: one--input, --inputs, a--seed"),
    ],
)
def test_options_become_the_experiments_keys(mend, told):
    error = AgentConfigError("it is so", where="net.keras at byte 7", mend=mend)
    tell_in_experiment(error, CHOICE)
    assert str(error) == f"my.yml:3:1: model: net.keras at byte 7: it is so; {told}"


def test_a_name_that_no_user_gave_is_not_told():
    error = AgentConfigError("it is so", where="functional_3")
    tell_in_experiment(error, CHOICE)
    assert str(error) == "my.yml:3:1: model: net.keras: it is so"


def test_the_agent_images_line_is_told_the_same():
    error = SpecError("net: 2 inputs: a, b; name all, each with --input")
    tell_in_experiment(error, CHOICE)
    assert str(error) == "my.yml:3:1: model: net: 2 inputs: a, b; name all under input:, in a list"
