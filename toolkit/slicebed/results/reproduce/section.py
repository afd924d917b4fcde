"""One published table or figure, made again: what a module of a target gives, and what the report shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd

    from slicebed.results.reproduce.statement import Statement

STOPPED = "≥: the budget stopped the method, which by itself would have measured more."
"""What the report says below a table with such a sign."""
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
        at_least: columns whose figure is the least that it may be where another column, the one named, is 1.
    """

    target: str
    name: str
    title: str
    table: pd.DataFrame
    comparable: str
    not_comparable: str
    statements: tuple[Statement, ...]
    at_least: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def shown(self) -> pd.DataFrame:
        """The table without the columns that only say where a figure is the least that it may be."""
        return self.table.drop(columns=[*dict.fromkeys(self.at_least.values())])

    @property
    def stopped(self) -> tuple[frozenset[str], ...]:
        """Of every row the columns whose figure is the least that it may be."""
        rows = self.table.to_dict("records")
        return tuple(frozenset(column for column, flag in self.at_least.items() if row[flag] == 1) for row in rows)
