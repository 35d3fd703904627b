"""The table of witnesses: what each scale-free measure says at equal loss, subset by subset."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from landscape.comparison.compare import Comparison
from landscape.comparison.flatness import UNKNOWN, WITNESSES, Flatness, Witness
from landscape.comparison.formatting import factor, figure
from landscape.comparison.seeds import FEWEST_PAIRS, SeedComparison

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


@dataclass(frozen=True)
class SeedTable:
    """Two methods over pairs of seeds.

    Attributes:
        first: Name of the first method.
        second: Name of the second.
        pairs: How many pairs of seeds.
        enough: Whether they are enough for a verdict.
        lines: The subsets that have a witness in every pair.
    """

    first: str
    second: str
    pairs: int
    enough: bool
    lines: tuple[WitnessLine, ...]


def seed_table(compared: Comparison, seeds: SeedComparison) -> SeedTable:
    """The table of two methods.

    Args:
        compared: What the page compares.
        seeds: Two methods of it.

    Returns:
        Their names and the means and ratios of their witnesses, each with its interval over the pairs.
    """
    first, second = (compared.runs[position].method for position in seeds.methods)

    def tell(witness: Witness) -> str:
        means = f"{figure(witness.before)} → {figure(witness.after)}"
        return f"{means} ({factor(witness.ratio)}; {factor(witness.low)} to {factor(witness.high)})"

    lines = _lines(compared, seeds.flatness, tell)
    enough = seeds.pairs >= FEWEST_PAIRS
    if not enough:
        lines = (replace(line, verdict="too few seeds") for line in lines)
    return SeedTable(first, second, seeds.pairs, enough, tuple(lines))


def witness_lines(compared: Comparison, other: int) -> tuple[WitnessLine, ...]:
    """The lines of a later run against the first; subsets without a witness are left out.

    Args:
        compared: What the page compares.
        other: Position of the later run.

    Returns:
        Groups first, then classes from head to tail.
    """
    return tuple(
        _lines(
            compared, compared.flatness[other],
            lambda w: f"{figure(w.before)} → {figure(w.after)} ({factor(w.ratio)})",
        )
    )  # fmt: skip


def _lines(compared: Comparison, flatness: Sequence[Flatness], tell: Callable[[Witness], str]) -> Iterator[WitnessLine]:
    known = [i for i, found in enumerate(flatness) if found.witnesses]
    kept = set([i for i in known if compared.rows[i].kind == "class"][-MOST_LINES:])
    for i in known:
        if compared.rows[i].kind != "class" or i in kept:
            told = {witness.name: tell(witness) for witness in flatness[i].witnesses}
            verdict = "too few witnesses" if flatness[i].verdict == UNKNOWN else flatness[i].verdict
            cells = tuple(told.get(name, "–") for name in WITNESSES)
            yield WitnessLine(i, compared.rows[i].title, figure(flatness[i].loss), cells, verdict)
