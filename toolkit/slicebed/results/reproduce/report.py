"""The report of a reproduction: every table and figure with its statements, as CSV files and one page."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

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
    from slicebed.results.reproduce.statement import Fact
    from slicebed.run.reproduction import Reproduction

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


def to_json(reproduction: Reproduction, report: Report) -> dict[str, Any]:
    """The report as JSON-ready values.

    Returns:
        ``{"reproduction", "targets", "quick", "sections": [...], "notes": [...]}``. A section has ``name``, ``target``,
        ``title``, ``rows`` as of its CSV file, null where a figure is not known, and ``statements`` with ``text``,
        ``source``, ``verdict``, ``why`` and ``figures``: each ``what``, ``value``, ``low``, ``high``, ``n``, ``unit``.
    """
    return {
        "reproduction": reproduction.folder.name,
        "targets": list(reproduction.targets),
        "quick": reproduction.state["quick"],
        "sections": [_section_to_json(section) for section in report.sections],
        "notes": list(report.notes),
    }


def _section_to_json(section: Section) -> dict[str, Any]:
    rows = section.table.astype(object).where(section.table.notna(), None).to_dict("records")
    return {
        **{name: getattr(section, name) for name in ("name", "target", "title")},
        "rows": [{str(column): _plain(value) for column, value in row.items()} for row in rows],
        "statements": [
            {
                **{name: getattr(each, name) for name in ("text", "source", "why")},
                "verdict": each.verdict.value,
                "figures": [_fact_to_json(fact) for fact in each.facts],
            }
            for each in section.statements
        ],
    }


def _fact_to_json(fact: Fact) -> dict[str, Any]:
    value, low, high, count = fact.estimate
    figures = {name: _plain(float(each)) for name, each in (("value", value), ("low", low), ("high", high))}
    return {"what": fact.what, **figures, "n": int(count), "unit": fact.unit}


def _plain(value: object) -> object:
    """A value as JSON has it: numpy's numbers as Python's, none of what is not one or has no end."""
    if isinstance(value, (str, int)) or value is None:
        return value
    if isinstance(value, Integral):
        return int(value)
    return None if not isinstance(value, Real) or not math.isfinite(value) else float(value)


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
