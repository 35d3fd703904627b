"""What a reader must know before believing the page: every weakness of the measurements, in plain words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from landscape.comparison.caveats.caveat import LEVELS, Caveat
from landscape.comparison.caveats.comparability import comparability
from landscape.comparison.caveats.general import standing
from landscape.comparison.caveats.measurement import quality
from landscape.comparison.compare import Comparison
from landscape.comparison.formatting import count

__all__ = ["LEVELS", "Caveat", "caveats_of"]

MOST_PLACES = 4
"""Runs and splits that one caveat names; of more it says how many there are."""


def caveats_of(compared: Comparison, left_out: int) -> tuple[Caveat, ...]:
    """Everything the page warns of, the serious first.

    Args:
        compared: What the page compares.
        left_out: How many subsets' surfaces and densities the page had no room for.

    Returns:
        The caveats; at least the notes that hold for every page of this kind.
    """
    found = [*comparability(compared), *quality(compared), *standing(compared, left_out)]
    return tuple(sorted(_together(found), key=lambda caveat: LEVELS.index(caveat.level)))


def _together(found: Iterable[Caveat]) -> Iterator[Caveat]:
    """One caveat an idea: what was found in several runs and splits stands before what follows from it."""
    ideas: dict[tuple[str, str], list[Caveat]] = {}
    for number, caveat in enumerate(found):
        ideas.setdefault((caveat.level, caveat.moral or str(number)), []).append(caveat)
    for (level, moral), alike in ideas.items():
        rest = f"; likewise in {count(len(alike) - MOST_PLACES, 'more place')}" if len(alike) > MOST_PLACES else ""
        text = "; ".join(caveat.text for caveat in alike[:MOST_PLACES]) + rest
        rows = tuple(dict.fromkeys(row for caveat in alike for row in caveat.rows))
        yield Caveat(level, f"{text}. {moral}" if alike[0].moral else text, rows)
