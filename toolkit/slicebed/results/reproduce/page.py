"""A reproduction as one HTML page that needs nothing but itself."""

from __future__ import annotations

import base64
import math
from html import escape
from typing import TYPE_CHECKING

from slicebed.results.reproduce.section import STOPPED
from slicebed.results.reproduce.statement import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from slicebed.results.reproduce.section import Section
    from slicebed.results.reproduce.statement import Statement

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222 }
h1 { font-size: 1.5rem } h2 { font-size: 1.15rem; margin-top: 2.5rem }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; margin: .5rem 0 1rem }
th, td { padding: .25rem .6rem; border-bottom: 1px solid #e3e3e3; text-align: left; vertical-align: top }
th { font-weight: 600; border-bottom: 1px solid #999 }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums }
td.p, th.p { color: #33608c }
.verdict { white-space: nowrap; font-weight: 600 }
.holds { color: #2f6b4f } .fails { color: #a83a22 } .open { color: #7a6a30 }
.wide img { max-width: 100% }
.note, .source { color: #666 } ul { margin: .2rem 0; padding-left: 1.2rem } li { color: #444; font-size: .85rem }
"""
_CLASSES = {Verdict.HOLDS: "holds", Verdict.FAILS: "fails", Verdict.OPEN: "open"}
_PUBLISHED = "published_"


def page(
    title: str,
    sections: Sequence[Section],
    notes: Sequence[str],
    links: Mapping[str, Path],
    pictures: Mapping[str, Sequence[Path]],
) -> str:
    """The whole page.

    Args:
        title: of the reproduction.
        sections: in order.
        notes: parts that left nothing to read, and why.
        links: part -> its campaign's folder, relative to the page.
        pictures: section -> SVG files, which the page takes in.
    """
    counts = {verdict: sum(each.verdict is verdict for s in sections for each in s.statements) for verdict in Verdict}
    counted = ", ".join(
        f'<span class="{_CLASSES[verdict]}">{count} {verdict}</span>' for verdict, count in counts.items()
    )
    body = [
        f"<h1>{escape(title)}</h1>",
        (
            f"<p>{sum(counts.values())} statements of the papers: {counted}. Figures in <span class=p>blue</span> are"
            f" published."
            " Shapes and ratios are compared, never absolute times: docs/reproduction.md says why.</p>"
        ),
        *([_list("Not measured", notes)] if notes else []),
        *(_section(each, pictures.get(each.name, ())) for each in sections),
        "<h2>Campaigns</h2>",
        "<ul>" + "".join(_link(name, folder) for name, folder in links.items()) + "</ul>",
    ]
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>'
    return f'<!DOCTYPE html>\n<html lang="en"><head>{head}</head><body>\n' + "\n".join(body) + "\n</body></html>\n"


def _section(section: Section, pictures: Sequence[Path]) -> str:
    return "\n".join(
        (
            f'<h2 id="{escape(section.name)}">{escape(section.title)}</h2>',
            (
                f'<p class="note"><b>Compare:</b> {escape(section.comparable)} <b>Do not compare:</b>'
                f" {escape(section.not_comparable)}</p>"
            ),
            _table(section),
            *map(_picture, pictures),
            _statements(section.statements),
        )
    )


def _table(section: Section) -> str:
    table = section.shown
    if table.empty:
        return '<p class="note">Nothing of it was measured.</p>'
    shown = [str(column) for column in table.columns]
    numbers = {column for column in shown if table[column].dtype.kind in "iuf"}

    def kind(column: str) -> str:
        names = [name for name, wanted in (("n", column in numbers), ("p", column.startswith(_PUBLISHED))) if wanted]
        return f' class="{" ".join(names)}"' if names else ""

    head = "".join(f"<th{kind(column)}>{escape(column.replace('_', ' '))}</th>" for column in shown)
    rows = (
        "<tr>" + "".join(f"<td{kind(column)}>{escape(text)}</td>" for column, text in row.items()) + "</tr>"
        for row in cell_texts(section)
    )
    note = f'\n<p class="note">{escape(STOPPED)}</p>' if any(section.stopped) else ""
    return (
        f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table></div>"
        + note
    )


def _picture(path: Path) -> str:
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    return f'<p class="wide"><img alt="{escape(path.stem)}" src="data:image/svg+xml;base64,{data}"></p>'


def _statements(statements: Sequence[Statement]) -> str:
    rows = (
        f'<tr><td class="verdict {_CLASSES[each.verdict]}">{each.verdict}</td><td>{escape(each.text)}'
        f'<br><span class="source">{escape(each.source)}</span></td><td>{escape(each.why)}'
        + _bullets(fact.text for fact in each.facts)
        + "</td></tr>"
        for each in statements
    )
    head = "<tr><th>verdict</th><th>statement of the paper</th><th>here</th></tr>"
    return f"<table><thead>{head}</thead><tbody>\n" + "\n".join(rows) + "\n</tbody></table>"


def _link(name: str, folder: Path) -> str:
    return f'<li>{escape(name)}: <a href="{escape(folder.as_posix())}/">{escape(folder.as_posix())}</a></li>'


def _list(title: str, lines: Iterable[str]) -> str:
    return f"<h2>{escape(title)}</h2>{_bullets(lines)}"


def _bullets(lines: Iterable[str]) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f"<ul>{items}</ul>" if items else ""


def cell_texts(section: Section) -> list[dict[str, str]]:
    """The rows of a section's table as they are shown: by column, ``≥`` before the least that a figure may be."""
    shown = section.shown
    rows = shown.astype(object).where(shown.notna(), None).to_dict("records")
    return [
        {
            str(column): f"≥ {text}" if column in stopped and text else text
            for column, text in ((column, _cell_text(value)) for column, value in row.items())
        }
        for row, stopped in zip(rows, section.stopped, strict=True)
    ]


def _cell_text(value: object) -> str:
    """A cell as tables show it: three digits, or none of what is not known."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"
    return str(value)
