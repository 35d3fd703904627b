"""What another run changed: first what scale-free measures say at equal loss, then the raw numbers."""

from __future__ import annotations

import numpy as np
from markupsafe import Markup

from landscape.comparison.compare import Comparison
from landscape.comparison.flatness import NOT_MEASURED, UNKNOWN, UNTOLD, Flatness
from landscape.comparison.formatting import factor, figure, percent
from landscape.comparison.table import View
from landscape.comparison.weight_norm import weight_norm
from landscape.report.claim import leading_rows
from landscape.report.words import run_mark, strong, value_at

MOST_CLASSES = 3
"""So many of the rarest classes are told one by one."""
MOST_DETAIL = 3
"""With more runs than this the answers keep to the few-shot classes."""


def changes(compared: Comparison, other: int) -> list[Markup]:
    """What a later run changed against the first.

    Args:
        compared: What the page compares.
        other: Position of the later run.

    Returns:
        Sentences as safe HTML.
    """
    return [*_at_equal_loss(compared, other), *_raw(compared, other)]


def _at_equal_loss(compared: Comparison, other: int) -> list[Markup]:
    flatness = compared.flatness[other]
    rows, _ = leading_rows(compared, flatness)
    known = [i for i in rows if flatness[i].verdict != UNKNOWN]
    mark = run_mark(compared.runs, other)
    if not known:
        reasons = [flatness[i].reason for i in rows]
        why = max(set(reasons), key=reasons.count, default=NOT_MEASURED)
        again = " --overwrite" if why == UNTOLD else ""
        return [
            Markup(
                "{}: {}, so neither network is called flatter. Measure both with "
                "<code>python -m landscape.hessian --match-loss FILE --name train-matched{}</code>, and the same of "
                "<code>landscape.sharpness</code>, FILE the other run’s landscape.h5; a subset that no temperature "
                "brings to the other’s loss stays without a verdict."
            ).format(mark, why, again)
        ]
    told = Markup("; ").join(
        Markup("{} {} ({})").format(compared.rows[i].title[:30], strong(flatness[i].verdict), witnessed(flatness[i]))
        for i in known[-MOST_CLASSES:]
    )
    return [Markup("{}, at equal loss: {}.").format(mark, told)]


def witnessed(flatness: Flatness) -> str:
    """The witnesses and their ratios in words: `λ₁ of |w|H|w| ÷2.5, adaptive sharpness, ρ 0.1 ÷2.0`."""
    return "; ".join(f"{witness.name} {factor(witness.ratio)}" for witness in flatness.witnesses)


def _raw(compared: Comparison, other: int) -> list[Markup]:
    runs, rows, table = compared.runs, compared.rows, compared.table
    if not table.views:
        return []
    view = table.views[0]
    judge = next((v for v in table.views if v.name == "test"), view)
    lines = []
    for name, words in (("few", "few‑shot"), ("balanced", "balanced")):
        row = next((i for i, row in enumerate(rows) if row.name == name and row.kind != "class"), None)
        if row is None or (len(runs) > MOST_DETAIL and name != "few"):
            continue
        parts = [
            *_change("λ₁ as it is", view, "top", row, other),
            *_change(f"{view.name} loss", view, "loss", row, other),
        ]
        before, after = value_at(judge, 0, "accuracy", row), value_at(judge, other, "accuracy", row)
        if np.isfinite(before) and np.isfinite(after):
            gain = f"{100 * (after - before):+.1f} points".replace("-", "−")
            parts.append(
                Markup("{} accuracy {} → {} ({})").format(judge.name, percent(before), percent(after), strong(gain))
            )
        if parts:
            lines.append(Markup("{}, {}: {}.").format(run_mark(runs, other), words, Markup("; ").join(parts)))
    norms = [weight_norm(runs[position]) for position in (0, other)]
    if all(norm > 0 for norm in norms):
        told = f"{figure(norms[0])} → {figure(norms[1])} ({factor(norms[1] / norms[0])})"
        lines.append(Markup("{}: weights ‖w‖ {}.").format(run_mark(runs, other), told))
    return lines or [Markup("Nothing was measured in both runs.")]


def _change(words: str, view: View, key: str, row: int, other: int) -> list[Markup]:
    before, after = value_at(view, 0, key, row), value_at(view, other, key, row)
    if not (before > 0 and after > 0):
        return []
    return [Markup("{} {} → {} ({})").format(words, figure(before), figure(after), factor(after / before))]
