"""How good the predictions of the latency were, over all that was measured, whichever method asked for it."""

from __future__ import annotations

import pandas as pd

COLUMNS = ("problem", "model", "condition", "candidates", "n", "median_error", "inside", "coverage")
"""Columns of ``tables/predicted.csv``, one row per problem with predictions.

``n`` are the ``candidates`` with a median latency and a prediction of it, ``median_error`` the median of their absolute
errors, each a share of what was measured; ``inside`` how many of the measured medians lie inside the predicted 95 %
interval, ``coverage`` their share. Predictions are the last ones of the search, which had seen what was measured by
then.
"""


def predicted_and_measured(cuts: pd.DataFrame) -> pd.DataFrame:
    """The cuts that have a median latency and a prediction of it, with ``error`` and ``inside`` the interval or not."""
    known = cuts[cuts["latency_median_ms"].notna() & cuts["predicted_latency_ms"].notna()]
    median = known["latency_median_ms"]
    return known.assign(
        error=(known["predicted_latency_ms"] - median).abs() / median,
        inside=(known["predicted_low_ms"] <= median) & (median <= known["predicted_high_ms"]),
    )


def predicted_table(cuts: pd.DataFrame) -> pd.DataFrame:
    """A row for every problem of which a predicted candidate was measured."""
    rows = [
        {
            **{name: known[name].iloc[0] for name in ("problem", "model", "condition")},
            "candidates": int((cuts["problem"] == problem).sum()),
            "n": len(known),
            "median_error": float(known["error"].median()),
            "inside": int(known["inside"].sum()),
            "coverage": float(known["inside"].mean()),
        }
        for problem, known in predicted_and_measured(cuts).groupby("problem", sort=False)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))
