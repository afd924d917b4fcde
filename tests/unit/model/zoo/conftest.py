"""TensorFlow for the zoo's tests."""

from __future__ import annotations

import warnings

import pytest


@pytest.fixture(scope="session")
def tf():
    from slicebed_agent.model import runtime

    with warnings.catch_warnings():
        # What TensorFlow's own modules warn of while they are imported is not ours to mend.
        warnings.simplefilter("ignore")
        runtime.tensorflow().keras.layers  # noqa: B018 - Keras is imported on first use
    return runtime.tensorflow()
