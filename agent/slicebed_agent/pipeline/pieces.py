"""Bytes that lie in several buffers, taken so many at a time; copied only where they must be."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


def joined(pieces: Sequence[memoryview]) -> memoryview:
    """All pieces as one: a single one as it is."""
    return pieces[0] if len(pieces) == 1 else memoryview(b"".join(pieces))


def cut(pieces: Sequence[memoryview], sizes: Iterable[int]) -> Iterator[memoryview]:
    """So many bytes at a time: a view where they lie in one piece, a copy of those that lie in several.

    Args:
        pieces: of any shape and format, one after the other.
        sizes: in bytes; together at most what the pieces hold.
    """
    left = [piece.cast("B") if piece.format != "B" or piece.ndim != 1 else piece for piece in pieces if piece.nbytes]
    left.reverse()
    for size in sizes:
        taken: list[memoryview] = []
        missing = size
        while missing:
            piece = left.pop()
            taken.append(piece[:missing])
            if piece.nbytes > missing:
                left.append(piece[missing:])
            missing -= taken[-1].nbytes
        yield joined(taken)
