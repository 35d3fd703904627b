"""The first ten seconds of the page: which classes are sharp, what the second run changed, can it be trusted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup

from landscape.comparison.caveats.caveat import LEVELS, Caveat
from landscape.comparison.compare import Comparison
from landscape.comparison.formatting import factor, figure, percent, times
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.comparison.table import Table, View

CLEAR = 1.25
"""Ratios of eigenvalues nearer to one than this are told as "about the same"."""

MOST_DETAIL = 3
"""With more runs than this the answers keep to the few-shot classes."""


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
    """Writes the headline from the first view (train, where it was measured).

    Args:
        compared: What the page compares.
        caveats: What to warn of.

    Returns:
        The headline; where a figure is missing, the sentence that needs it is too.
    """
    runs, rows, table = compared.runs, compared.rows, compared.table
    view = table.views[0] if table.views else None
    answers = [
        Answer("Which classes sit at sharp or negatively curved points?", tuple(_sharp(runs, rows, view))),
        Answer("What did the other run change?" if len(runs) == 2 else "What did the other runs change?",
               tuple(line for other in range(1, len(runs)) for line in _changed(runs, rows, table, other))),
        Answer("Can it be trusted?", tuple(_trust(caveats))),
    ]  # fmt: skip
    if len(runs) == 1:
        answers[1] = Answer("What would another run change?", (Markup("Give a second file to compare with it."),))
    return Headline(_title(runs, rows, view), tuple(answers))


def run_mark(runs: Sequence[Run], position: int) -> Markup:
    """A run's name in its color."""
    return Markup('<span class="run run-{}">{}</span>').format(position % 8, runs[position].name)


def _strong(text: str) -> Markup:
    return Markup("<strong>{}</strong>").format(text)


def _value(view: View, run: int, key: str, row: int) -> float:
    column = view.columns[run].get(key)
    return float(column.value[row]) if column is not None else float("nan")


def _find(rows: Sequence[Row], name: str) -> int | None:
    return next((i for i, row in enumerate(rows) if row.name == name and row.kind != "class"), None)


def _group(rows: Sequence[Row], view: View, run: int, key: str, group: str) -> float:
    """What a group measured as one shows; NaN where it was not."""
    row = _find(rows, group)
    return float("nan") if row is None else _value(view, run, key, row)


def _median(rows: Sequence[Row], view: View, run: int, key: str, group: str) -> float:
    """What the median class of a group shows; NaN where none was measured."""
    values = [_value(view, run, key, i) for i, row in enumerate(rows) if row.kind == "class" and row.group == group]
    known = [value for value in values if np.isfinite(value)]
    return float(np.median(known)) if known else float("nan")


def _title(runs: Sequence[Run], rows: Sequence[Row], view: View | None) -> Markup:
    plain = Markup("The loss landscape of {}, class by class").format(
        Markup(" and ").join(run_mark(runs, i) for i in range(min(2, len(runs))))
    )
    if view is None:
        return plain
    whole = all(_group(rows, view, 0, "top", group) > 0 for group in ("many", "few"))
    head, tail = ((_group if whole else _median)(rows, view, 0, "top", group) for group in ("many", "few"))
    if not (head > 0 and tail > 0):
        return plain
    ratio = tail / head
    by = "" if whole else " (by the median class)"
    if ratio > CLEAR:
        first = Markup("Under {}, few‑shot classes sit at points {} sharper than many‑shot ones{}").format(
            run_mark(runs, 0), times(ratio), by
        )
    elif ratio < 1 / CLEAR:
        first = Markup("Under {}, few‑shot classes sit at points {} flatter than many‑shot ones{}").format(
            run_mark(runs, 0), times(1 / ratio), by
        )
    else:
        first = Markup("Under {}, few‑shot and many‑shot classes are about equally sharp{}").format(
            run_mark(runs, 0), by
        )
    level = _group if all(_group(rows, view, run, "top", "few") > 0 for run in range(min(2, len(runs)))) else _median
    change, loss = (
        level(rows, view, 1, key, "few") / level(rows, view, 0, key, "few") if len(runs) > 1 else float("nan")
        for key in ("top", "loss")
    )
    if not change > 0:
        return first + Markup(".")
    at = Markup(", at {} the loss").format(times(loss)) if loss > CLEAR else Markup("")
    at = Markup(", at a loss {} smaller").format(times(1 / loss)) if 0 < loss < 1 / CLEAR else at
    if change < 1 / CLEAR:
        return first + Markup("; {} makes the few‑shot ones {} flatter{}.").format(
            run_mark(runs, 1), times(1 / change), at
        )
    if change > CLEAR:
        return first + Markup("; {} makes the few‑shot ones {} sharper{}.").format(run_mark(runs, 1), times(change), at)
    return first + Markup("; {} leaves the few‑shot ones as sharp{}.").format(run_mark(runs, 1), at)


def _sharp(runs: Sequence[Run], rows: Sequence[Row], view: View | None) -> list[Markup]:
    lines: list[Markup] = []
    classes = [i for i, row in enumerate(rows) if row.kind == "class"]
    for position in range(len(runs) if view is not None else 0):
        assert view is not None
        parts: list[Markup] = []
        ranked = sorted(
            (i for i in classes if np.isfinite(_value(view, position, "top", i))),
            key=lambda i: -_value(view, position, "top", i),
        )[:3]
        if ranked:
            named = Markup(", ").join(
                Markup('<button type="button" class="link" data-row="{}">{}</button> ({})').format(
                    i, rows[i].title if len(rows[i].title) <= 30 else rows[i].title[:29] + "…",
                    figure(_value(view, position, "top", i)),
                )
                for i in ranked
            )  # fmt: skip
            parts.append(Markup("sharpest at {}").format(named))
        verdicts = [view.verdicts[position][i] for i in classes]
        judged = sum(bool(verdict) for verdict in verdicts)
        if judged:
            negative = verdicts.count("negative")
            parts.append(
                Markup("negative curvature proven at {} classes").format(_strong(f"{negative:,} of {judged:,}"))
                if negative
                else Markup("no negative curvature found at any of {} classes").format(_strong(f"{judged:,}"))
            )
        if parts:
            lines.append(Markup("{}: {}.").format(run_mark(runs, position), Markup("; ").join(parts)))
    return lines or [Markup("No curvature was measured; run python -m landscape.hessian.")]


def _changed(runs: Sequence[Run], rows: Sequence[Row], table: Table, other: int) -> list[Markup]:
    few = _find(rows, "few")
    everything = _find(rows, "balanced")
    lines: list[Markup] = []
    if few is None and everything is None:
        return [Markup("No group was measured in both runs.")]
    view = table.views[0]
    judge = next((v for v in table.views if v.name == "test"), view)
    for row, words in ((few, "few‑shot"), (everything, "balanced")):
        if row is None or (len(runs) > MOST_DETAIL and words != "few‑shot"):
            continue
        parts: list[Markup] = []
        before, after = _value(view, 0, "top", row), _value(view, other, "top", row)
        if before > 0 and after > 0:
            parts.append(
                Markup("λ₁ {} → {} ({})").format(figure(before), figure(after), _strong(factor(after / before)))
            )
        before, after = _value(view, 0, "loss", row), _value(view, other, "loss", row)
        if before > 0 and after > 0:
            parts.append(
                Markup("{} loss {} → {} ({})").format(view.name, figure(before), figure(after), factor(after / before))
            )
        before, after = _value(judge, 0, "accuracy", row), _value(judge, other, "accuracy", row)
        if np.isfinite(before) and np.isfinite(after):
            gain = f"{100 * (after - before):+.1f} points".replace("-", "−")
            parts.append(
                Markup("{} accuracy {} → {} ({})").format(judge.name, percent(before), percent(after), _strong(gain))
            )
        if parts:
            lines.append(Markup("{}, {}: {}.").format(run_mark(runs, other), words, Markup("; ").join(parts)))
    lines += _matched(runs, rows, table, other)
    return lines or [Markup("Nothing was measured in both runs.")]


def _matched(runs: Sequence[Run], rows: Sequence[Row], table: Table, other: int) -> list[Markup]:
    """λ₁ of both runs where a temperature made their losses equal."""
    for view in (view for view in table.views if view.matched):
        changes = [
            (rows[i].title, _value(view, other, "top", i) / _value(view, 0, "top", i))
            for i in range(len(rows))
            if _value(view, 0, "top", i) > 0 and _value(view, other, "top", i) > 0
        ]
        if changes:
            told = ", ".join(f"{title[:30]} {factor(ratio)}" for title, ratio in changes[:4])
            return [Markup("At equal loss ({}), λ₁ of {}: {}.").format(view.name, run_mark(runs, other), _strong(told))]
    return []


def _trust(caveats: Sequence[Caveat]) -> list[Markup]:
    sizes = {level: sum(caveat.level == level for caveat in caveats) for level in LEVELS}
    if sizes["serious"]:
        lines = [
            Markup("Not blindly: {} may mislead a comparison.").format(
                _strong(f"{sizes['serious']} serious caveat{'s' if sizes['serious'] > 1 else ''}")
            )
        ]
        lines += [Markup("{}").format(caveat.text) for caveat in caveats if caveat.level == "serious"][:1]
    elif sizes["caution"]:
        lines = [
            Markup("Mostly: nothing serious, {} to mind.").format(
                _strong(f"{sizes['caution']} caution{'s' if sizes['caution'] > 1 else ''}")
            )
        ]
        lines += [Markup("{}").format(caveat.text) for caveat in caveats if caveat.level == "caution"][:1]
    else:
        lines = [Markup("Every figure is finished, converged and finite.")]
    return [*lines, Markup('<a href="#caveats">All {} caveats in plain words</a>').format(len(caveats))]
