"""The table of witnesses: what each scale-free measure says at equal loss, subset by subset."""

from __future__ import annotations

from dataclasses import dataclass

from landscape.comparison.compare import Comparison
from landscape.comparison.flatness import UNKNOWN, WITNESSES, Flatness
from landscape.comparison.formatting import factor, figure

MOST_LINES = 120
"""Tables with more classes than this keep the groups and the rarest classes."""


@dataclass(frozen=True)
class WitnessLine:
    """A subset of the table.

    Attributes:
        row: Index of the page's row.
        title: Its name.
        loss: At which the witnesses were measured, in figures.
        cells: What each witness says, as text; a dash where it was not measured.
        verdict: In words.
    """

    row: int
    title: str
    loss: str
    cells: tuple[str, ...]
    verdict: str


def witness_lines(compared: Comparison, other: int) -> tuple[WitnessLine, ...]:
    """The lines of a later run against the first; subsets without a witness are left out.

    Args:
        compared: What the page compares.
        other: Position of the later run.

    Returns:
        Groups first, then classes from head to tail.
    """
    known = [i for i, flatness in enumerate(compared.flatness[other]) if flatness.witnesses]
    classes = [i for i in known if compared.rows[i].kind == "class"]
    kept = set(classes[-MOST_LINES:])
    return tuple(
        _line(i, compared.rows[i].title, compared.flatness[other][i])
        for i in known
        if compared.rows[i].kind != "class" or i in kept
    )


def _line(row: int, title: str, flatness: Flatness) -> WitnessLine:
    told = {
        witness.name: f"{figure(witness.before)} → {figure(witness.after)} ({factor(witness.ratio)})"
        for witness in flatness.witnesses
    }
    verdict = "too few witnesses" if flatness.verdict == UNKNOWN else flatness.verdict
    return WitnessLine(row, title, figure(flatness.loss), tuple(told.get(name, "–") for name in WITNESSES), verdict)
