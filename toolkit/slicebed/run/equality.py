"""Whether the chain of slices answers as the whole model does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slicebed.errors import RunError
from slicebed.spec.experiment_model import EQUALITY_BAR
from slicebed_agent.pipeline.codecs import Codec

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd


def is_lossy(manifest: Mapping[str, Any]) -> bool:
    """Whether the run's codec changes the tensors that it carries."""
    named = manifest["spec"].get("pipeline", {}).get("codec", Codec.TENSOR_PROTO)
    return Codec(named).is_lossy


def check_equality(table: pd.DataFrame, manifest: Mapping[str, Any]) -> None:
    """Check that the chain of slices answered every frame that was checked as the whole model does.

    Not those that an early exit answered, which is another model, and none under a lossy codec: what these do to the
    answers is a result of the run.

    Raises:
        RunError: a label differs, or an output by more of its largest value than the experiment's `tolerance`; the
            first such frame is named.
    """
    if is_lossy(manifest):
        return
    done = table[(table["end"] == "completed") & (table["checked"].fillna(0) > 0) & table["early"].isna()]
    differs = (done["labels_equal"] != done["checked"]) | done["labels_equal"].isna()
    # Of runs from before there was one: what is usual.
    allowed = manifest["spec"].get("tolerance", EQUALITY_BAR)
    wrong = done[differs | ~(done["max_rel_error"] <= allowed)]
    if len(wrong):
        first = wrong.iloc[0]
        raise RunError(
            f"{len(wrong)} of {len(done)} answers are not the whole model's: frame {first['frame_id']} has"
            f" {first['labels_equal']} of {first['checked']} labels equal, its output differs by"
            f" {first['max_rel_error']:.2g} of its largest value ({allowed:g} is allowed)",
            where=f"run {manifest['run']}",
            mend="rounding alone? Other numbers of cores do that to very deep models: set the experiment's tolerance",
        )
