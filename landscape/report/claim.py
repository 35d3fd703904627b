"""The page's loudest sentence: which of the first two networks is flatter, as far as the rule allows to say."""

from __future__ import annotations

from collections.abc import Sequence
from math import log

from markupsafe import Markup

from landscape.comparison.compare import Comparison
from landscape.comparison.flatness import (
    DISAGREE,
    EQUAL,
    FLATTER,
    NOT_MEASURED,
    SHARPER,
    UNCERTAIN,
    UNKNOWN,
    Flatness,
)
from landscape.comparison.formatting import count, factor
from landscape.comparison.seeds import FEWEST_PAIRS, SeedComparison
from landscape.report.words import method_mark, run_mark

TOGETHER = "few‑shot classes together"
_WORDS = {
    FLATTER: "flatter than {first} at {classes}",
    SHARPER: "sharper than {first} at {classes}",
    EQUAL: "as flat as {first} at {classes}",
    DISAGREE: "neither flatter nor sharper than {first}, for the measures disagree, at {classes}",
    UNCERTAIN: "not told apart from {first} within the errors at {classes}",
}


def claim(compared: Comparison) -> Markup:
    """The verdict on the second run at the few-shot classes (at all classes where no group is few-shot).

    Args:
        compared: What the page compares; at least two runs.

    Returns:
        One sentence as safe HTML. It speaks of two networks; of two methods only where both have enough seeds.
    """
    runs = compared.runs
    if compared.seeds:
        return _methods(compared, compared.seeds[0])
    told = _told(compared, compared.flatness[1], run_mark(runs, 0))
    if told is None:
        return Markup(
            "{} and {}, class by class: neither is called flatter before two scale‑free measures at equal loss say so."
        ).format(run_mark(runs, 0), run_mark(runs, 1))
    of = (
        "Two seeds of one method." if runs[0].configuration == runs[1].configuration else "Two networks, one seed each."
    )
    return Markup("At equal loss {} is {}. {}").format(run_mark(runs, 1), told, of)


def _methods(compared: Comparison, seeds: SeedComparison) -> Markup:
    """The same of two methods, where enough seeds allow it."""
    first, second = (method_mark(compared.runs, position) for position in seeds.methods)
    over = count(seeds.pairs, "pair") + " of seeds"
    alone = Markup(" {} without a partner of the same seed.").format(count(len(seeds.unpaired), "run"))
    rest = alone if seeds.unpaired else Markup("")
    if not seeds.pairs:
        return Markup("{} and {} share no seed: nothing allows a claim about methods.").format(first, second) + rest
    if seeds.pairs < FEWEST_PAIRS:
        few = Markup("{} and {} over {}: fewer than {} allow no claim about methods.")
        return few.format(first, second, over, FEWEST_PAIRS) + rest
    told = _told(compared, seeds.flatness, first)
    if told is None:
        return (
            Markup(
                "{} and {} over {}: neither is called flatter before two scale‑free measures at equal loss say so."
            ).format(first, second, over)
            + rest
        )
    return Markup("Over {}, at equal loss, {} is {}.").format(over, second, told) + rest


def _told(compared: Comparison, flatness: Sequence[Flatness], first: Markup) -> Markup | None:
    """The verdicts at the leading rows in words; None where there is none."""
    rows, noun = leading_rows(compared, flatness)
    judged = [flatness[i] for i in rows if flatness[i].verdict != UNKNOWN]
    if not judged:
        return None
    parts = []
    for verdict, words in _WORDS.items():
        alike = [found for found in judged if found.verdict == verdict]
        if alike:
            ratios = _ratios(alike) if verdict in (FLATTER, SHARPER) else ""
            parts.append(Markup(words).format(first=first, classes=_of(len(alike), len(rows), noun)) + ratios)
    return Markup("; ").join(parts)


def leading_rows(compared: Comparison, flatness: Sequence[Flatness]) -> tuple[tuple[int, ...], str]:
    """The rows that the headline speaks of, and what it calls one of them.

    Args:
        compared: What the page compares.
        flatness: By row; where it knows no class and the few-shot group, the group leads.

    Returns:
        Positions of the rows, and a noun.
    """
    classes = [i for i, row in enumerate(compared.rows) if row.kind == "class"]
    few = [i for i in classes if compared.rows[i].group == "few"]
    rows, noun = (few, "few‑shot class") if few else (classes, "class")
    group = [i for i, row in enumerate(compared.rows) if (row.kind, row.name) == ("group", "few")]
    if all(flatness[i].reason == NOT_MEASURED for i in rows) and any(flatness[i].verdict != UNKNOWN for i in group):
        return tuple(group), TOGETHER
    return tuple(rows), noun


def _of(size: int, total: int, noun: str) -> str:
    if noun == TOGETHER:
        return f"the {noun}"
    if size == total:
        return f"the one {noun}" if total == 1 else f"all {count(total, noun)}"
    return f"{size} of {count(total, noun)}"


def _ratios(judged: Sequence[Flatness]) -> Markup:
    """The range over classes of the first witness that all of them have, the clearest last."""
    names = [[witness.name for witness in flatness.witnesses] for flatness in judged]
    shared = next((name for name in names[0] if all(name in others for others in names)), None)
    if shared is None:
        return Markup("")
    ratios = [w.ratio for flatness in judged for w in flatness.witnesses if w.name == shared]
    ratios.sort(key=lambda ratio: abs(log(ratio)))
    ends = list(dict.fromkeys(factor(ratio) for ratio in (ratios[0], ratios[-1])))
    return Markup(" ({} {})").format(shared, " to ".join(ends))
