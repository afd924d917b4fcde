"""When an early exit is sure of a frame: S. Teerapittayanon, B. McDanel and H. T. Kung, "BranchyNet", ICPR 2016.

They ask for a low entropy of the probabilities; the largest probability orders the cases as well and needs no scale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from slicebed_agent.errors import PayloadError

if TYPE_CHECKING:
    from slicebed_agent.model.execute.tensors import Array


def confidence(probabilities: Array) -> float:
    """The largest probability of the least certain image.

    Args:
        probabilities: floats, batch x classes.

    Raises:
        PayloadError: they are none.
    """
    if probabilities.ndim != 2 or not probabilities.size or probabilities.dtype.kind != "f":
        raise PayloadError(
            f"the exit's head gave {probabilities.dtype} {probabilities.shape}",
            mend="give one that answers with probabilities, batch x classes",
        )
    found = float(np.min(np.max(probabilities, axis=1)))
    if not np.isfinite(probabilities).all():
        raise PayloadError("the exit's head gave values that are no numbers", mend="check its weights and its boundary")
    return found
