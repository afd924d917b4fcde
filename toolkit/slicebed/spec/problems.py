"""Mistakes in an input file: where each stands, and how they are told together."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from slicebed.errors import SpecError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True, order=True)
class Mark:
    """A place in a file; line and column count from 1."""

    line: int
    column: int


@dataclass(frozen=True, order=True)
class Problem:
    """One mistake: where it stands, what is wrong, and what would be allowed (both without a full stop)."""

    mark: Mark
    what: str
    allowed: str

    def line(self, path: Path) -> str:
        """The mistake as one line, ``file:line:column: what; allowed: ...``."""
        text = f"{path}:{self.mark.line}:{self.mark.column}: {self.what}; allowed: {self.allowed}"
        return " ".join(text.split())


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The nearest of the known words, to follow the unknown one in a message; empty where none is near."""
    near = difflib.get_close_matches(word, list(known), n=1)
    return f', did you mean "{near[0]}"?' if near else ""


class SpecErrors(SpecError):  # noqa: N818 - plural on purpose: it holds all mistakes of the files
    """All mistakes of the input files, one line each; ``str()`` joins them with line breaks."""

    def __init__(self, lines: Iterable[str]) -> None:
        """Keep the lines in the order given, each once.

        Args:
            lines: at least one mistake, each already of the form ``file:line:column: what; allowed: ...``.
        """
        self.lines: tuple[str, ...] = tuple(dict.fromkeys(lines))
        super().__init__(self.lines[0])

    def __str__(self) -> str:
        """Every mistake on a line of its own."""
        return "\n".join(self.lines)


def problem_lines(path: Path, problems: Iterable[Problem]) -> list[str]:
    """The lines of all ``problems`` of one file, in the order of the file."""
    return [problem.line(path) for problem in sorted(problems)]
