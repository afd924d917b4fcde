"""The report of a reproduction: every table and figure with its statements, as CSV files and one page."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from slicebed.results.reproduce.dnn_slicing import section_dnn_slicing
from slicebed.results.reproduce.figure4 import section_figure4
from slicebed.results.reproduce.figure9 import section_figure9
from slicebed.results.reproduce.figures10_12 import section_figures10_12
from slicebed.results.reproduce.material import read_material
from slicebed.results.reproduce.page import page
from slicebed.results.reproduce.pictures import FIGURE_9, draw_campaigns, draw_figure9, pictures_of
from slicebed.results.reproduce.statement import Verdict
from slicebed.results.reproduce.table5 import REFERENCE, section_table5
from slicebed.results.reproduce.table6 import section_table6

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from slicebed.results.reproduce.material import Material
    from slicebed.results.reproduce.section import Section
    from slicebed.run.reproduce import Reproduction

COLUMNS = ("section", "statement", "source", "verdict", "why", "figure", "value", "low", "high", "n", "unit")
"""Columns of ``tables/verdicts.csv``: a row for each figure that a verdict rests on, one without where there is"
" none."""


@dataclass(frozen=True)
class Report:
    """A reproduction's report.

    Attributes:
        sections: of every target that was asked for.
        notes: parts that left nothing to read, and why.
    """

    sections: tuple[Section, ...]
    notes: tuple[str, ...]

    @property
    def verdicts(self) -> dict[Verdict, int]:
        """How many statements have each verdict."""
        counted = Counter(each.verdict for section in self.sections for each in section.statements)
        return {verdict: counted[verdict] for verdict in Verdict}


def sections_of(material: Material, targets: Iterable[str], reference: Path = REFERENCE) -> tuple[Section, ...]:
    """Every table and figure of these targets, also where nothing of it was measured."""
    every = (
        section_table5(material.searches, reference),
        section_table6(material.searches, reference),
        section_figure4(material.searches),
        section_figure9(material.searches),
        section_figures10_12(material.searches),
        section_dnn_slicing(material.splits),
    )
    wanted = set(targets)
    return tuple(section for section in every if section.target in wanted)


def verdicts_table(sections: Sequence[Section]) -> pd.DataFrame:
    """Every statement with its verdict and figures, with the columns `COLUMNS`."""
    rows = []
    for section in sections:
        for each in section.statements:
            same = (section.name, each.text, each.source, each.verdict.value, each.why)
            rows += [(*same, fact.what, *fact.estimate, fact.unit) for fact in each.facts] or [
                (*same, "", math.nan, math.nan, math.nan, 0, "")
            ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def write_report(reproduction: Reproduction, reference: Path = REFERENCE) -> Report:
    """Write ``index.html``, ``tables/verdicts.csv``, one CSV file per table and figure, and each campaign's own report.

    Raises:
        SpecError: it is no reproduction's folder.
    """
    material = read_material(reproduction)
    undrawn = draw_campaigns(material.campaigns)
    report = Report(sections_of(material, reproduction.targets, reference), (*material.notes, *undrawn))
    tables = reproduction.folder / "tables"
    tables.mkdir(exist_ok=True)
    for section in report.sections:
        section.table.to_csv(tables / f"{section.name}.csv", index=False, float_format="%.6g")
    verdicts_table(report.sections).to_csv(tables / "verdicts.csv", index=False, float_format="%.6g")
    pictures = {each.name: pictures_of(each.name, material.campaigns) for each in report.sections}
    for section in report.sections:
        if section.name == FIGURE_9:
            pictures[FIGURE_9] = draw_figure9(section.table, reproduction.folder / "plots")
    links = {name: folder.relative_to(reproduction.folder) for name, folder in material.campaigns.items()}
    title = f"{reproduction.folder.name}{', quick' if reproduction.state['quick'] else ''}"
    text = page(title, report.sections, report.notes, links, pictures)
    (reproduction.folder / "index.html").write_text(text, encoding="utf-8")
    return report
