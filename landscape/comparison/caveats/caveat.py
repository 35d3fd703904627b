"""One thing a reader must know, and how the page names subsets in a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landscape.comparison.formatting import listing, quoted
from landscape.comparison.rows import Row

LEVELS = ("serious", "caution", "note")


@dataclass(frozen=True)
class Caveat:
    """One thing to know.

    Attributes:
        level: `serious` (a comparison may mislead), `caution` or `note`.
        text: What was found where, as one clause where a moral follows.
        rows: Indices of the subsets it is about; empty when it is about everything.
        moral: What follows from it, the same for every run and split in which it was found.
    """

    level: str
    text: str
    rows: tuple[int, ...] = ()
    moral: str = ""


def named(rows: Sequence[Row], indices: Sequence[int], most: int = 3) -> str:
    """Subsets in a sentence: the first few by name, the rest by number."""
    return listing([quoted(rows[i].title) for i in indices], most)
