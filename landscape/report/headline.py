"""The first ten seconds of the page: what the rule lets one claim, where the loss is sharp, can it be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from landscape.comparison.caveats.caveat import LEVELS, Caveat
from landscape.comparison.compare import Comparison
from landscape.comparison.formatting import figure
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.comparison.table import View
from landscape.report.change import changes
from landscape.report.claim import claim
from landscape.report.words import run_mark, strong, value_at


@dataclass(frozen=True)
class Answer:
    """A question and its answer.

    Attributes:
        question: As a reader would ask it.
        lines: Sentences as safe HTML.
    """

    question: str
    lines: tuple[Markup, ...]


@dataclass(frozen=True)
class Headline:
    """What stands above everything else.

    Attributes:
        title: One sentence as safe HTML.
        answers: The three answers.
    """

    title: Markup
    answers: tuple[Answer, ...]


def headline_of(compared: Comparison, caveats: Sequence[Caveat]) -> Headline:
    """Writes the headline: the claim that the rule of `comparison.flatness` allows, then what the first view shows.

    Args:
        compared: What the page compares.
        caveats: What to warn of.

    Returns:
        The headline; where a figure is missing, the sentence that needs it is too.
    """
    runs, rows, table = compared.runs, compared.rows, compared.table
    view = table.views[0] if table.views else None
    kinds = {run.configuration: i for i, run in reversed(list(enumerate(runs)))}  # one run a configuration
    later = [i for i in sorted(kinds.values()) if i] or list(range(1, len(runs)))
    changed = [line for other in later for line in changes(compared, other)]
    return Headline(
        claim(compared) if len(runs) > 1 else _alone(runs, rows, view),
        (
            Answer("Where is the loss sharp or negatively curved?", tuple(_sharp(runs, rows, view))),
            Answer(
                "What did the other run change?" if len(runs) < 3 else "What did the other runs change?",
                tuple(changed) or (Markup("Give a second file to compare with it."),),
            ),
            Answer("Can it be trusted?", tuple(_trust(caveats))),
        ),
    )


def _alone(runs: Sequence[Run], rows: Sequence[Row], view: View | None) -> Markup:
    """What one run alone shows: λ₁ of the losses of its rare and of its frequent classes, as ranges over classes."""
    spans = [(group, span) for group in ("few", "many") if (span := _span(rows, view, 0, group))]
    if not spans:
        return Markup("The loss landscape of {}, class by class").format(run_mark(runs, 0))
    told = Markup(" and ").join(Markup("{} for {}‑shot classes").format(span, group) for group, span in spans)
    return Markup("At the weights of {}, λ₁ of the loss is {}.").format(run_mark(runs, 0), told)


def _span(rows: Sequence[Row], view: View | None, run: int, group: str) -> str:
    """The range of λ₁ over the measured classes of a group: `145 to 517`; empty where none was measured."""
    values = [
        value
        for i, row in enumerate(rows)
        if view is not None and row.kind == "class" and row.group == group
        if np.isfinite(value := value_at(view, run, "top", i))
    ]
    return " to ".join(dict.fromkeys((figure(min(values)), figure(max(values))))) if values else ""


def _sharp(runs: Sequence[Run], rows: Sequence[Row], view: View | None) -> list[Markup]:
    lines: list[Markup] = []
    classes = [i for i, row in enumerate(rows) if row.kind == "class"]
    for position in range(len(runs) if view is not None else 0):
        assert view is not None
        parts = [*_sharpest(rows, view, position, classes), *_spans(rows, view, position)]
        verdicts = [view.verdicts[position][i] for i in classes]
        judged = sum(bool(verdict) for verdict in verdicts)
        if judged:
            negative = verdicts.count("negative")
            parts.append(
                Markup("negative curvature proven at {} classes").format(strong(f"{negative:,} of {judged:,}"))
                if negative
                else Markup("no negative curvature found at any of {} classes").format(strong(f"{judged:,}"))
            )
        if parts:
            lines.append(Markup("{}: {}.").format(run_mark(runs, position), Markup("; ").join(parts)))
    return lines or [Markup("No curvature was measured; run python -m landscape.hessian.")]


def _sharpest(rows: Sequence[Row], view: View, run: int, classes: Sequence[int]) -> list[Markup]:
    known = [i for i in classes if np.isfinite(value_at(view, run, "top", i))]
    ranked = sorted(known, key=lambda i: -value_at(view, run, "top", i))[:3]
    if not ranked:
        return []
    named = Markup(", ").join(
        Markup('<button type="button" class="link" data-row="{}">{}</button> ({})').format(
            i,
            rows[i].title if len(rows[i].title) <= 30 else rows[i].title[:29] + "…",
            figure(value_at(view, run, "top", i)),
        )
        for i in ranked
    )
    return [Markup("largest λ₁ at {}").format(named)]


def _spans(rows: Sequence[Row], view: View, run: int) -> list[Markup]:
    spans = [
        Markup("{} over {}‑shot classes").format(span, group)
        for group in ("few", "many")
        if (span := _span(rows, view, run, group))
    ]
    return [Markup("λ₁ {}").format(Markup(", ").join(spans))] if len(spans) > 1 else []


def _trust(caveats: Sequence[Caveat]) -> list[Markup]:
    sizes = {level: sum(caveat.level == level for caveat in caveats) for level in LEVELS}
    if sizes["serious"]:
        lines = [
            Markup("Not blindly: {} may mislead a comparison.").format(
                strong(f"{sizes['serious']} serious caveat{'s' if sizes['serious'] > 1 else ''}")
            )
        ]
        lines += [Markup("{}").format(caveat.text) for caveat in caveats if caveat.level == "serious"][:1]
    elif sizes["caution"]:
        lines = [
            Markup("Mostly: nothing serious, {} to mind.").format(
                strong(f"{sizes['caution']} caution{'s' if sizes['caution'] > 1 else ''}")
            )
        ]
        lines += [Markup("{}").format(caveat.text) for caveat in caveats if caveat.level == "caution"][:1]
    else:
        lines = [Markup("Every figure is finished, converged and finite.")]
    return [*lines, Markup('<a href="#caveats">All {} caveats in plain words</a>').format(len(caveats))]
