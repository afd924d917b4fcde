"""One published table or figure, made again: what a module of a target gives, and what the report shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from slicebed.results.reproduce.statement import Statement

COUPER, DNN_SLICING = "Couper", "DNN slicing"


@dataclass(frozen=True)
class Section:
    """A published table or figure beside what this testbed gives.

    Attributes:
        target: of `slicebed reproduce` that it belongs to.
        name: short, fit for a file: ``couper_table5``.
        title: which table or figure of which paper, and of what.
        table: measured columns beside those that begin with ``published_``.
        comparable: what may be compared.
        not_comparable: what may not, and why.
        statements: of the paper, with their verdicts.
    """

    target: str
    name: str
    title: str
    table: pd.DataFrame
    comparable: str
    not_comparable: str
    statements: tuple[Statement, ...]
