"""The tables of a study: its answers, and means over seeds of every variant, as CSV and Markdown."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence

from analyses.engine.answers import Answer
from analyses.engine.numbers import GROUPS, Numbers
from analyses.engine.significance import sample_of

COLUMNS = (
    "claim", "statement", "says", "margin", "verdict", "seeds", "estimate", "low", "high", "p_holm", "p_flips",
    "figures",
)  # fmt: skip
MEANS = (("accuracy", "accuracy, %"), ("loss", "loss, nat"), ("accuracy of best.pt", "accuracy of best.pt, %"))
"""Measures of the test split whose means over seeds are told, and what they are called."""


def answers_csv(answers: Iterable[Answer]) -> str:
    """The answers as a CSV file."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for a in answers:
        q = a.question
        ends = [_short(value) for value in (a.estimate, a.low, a.high, a.p, a.p_flips)]
        writer.writerow([q.claim, q.text, q.says, q.margin, a.verdict, a.seeds, *ends, a.figures])
    return text.getvalue()


def _short(value: float) -> str:
    return f"{value:.4g}" if math.isfinite(value) else ""


def answers_table(answers: Sequence[Answer]) -> str:
    """The answers as a Markdown table."""
    lines = [
        "Intervals are over seeds, 95 %; p is Holm's over the study.",
        "",
        "| claim | statement | verdict | seeds | figures | p |",
        "|---|---|---|---|---|---|",
    ]
    for a in answers:
        p = "" if math.isnan(a.p) else f"{a.p:.2g}"
        cells = (a.question.claim, a.question.text, a.verdict, str(a.seeds), a.figures, p)
        lines.append(f"| {' | '.join(map(markdown_cell, cells))} |")
    return "\n".join(lines)


def markdown_cell(text: str) -> str:
    """A text as a cell of a Markdown table, in which a bar ends the cell."""
    return text.replace("|", "\\|")


def means_rows(numbers: Numbers, measure: str) -> list[tuple[str, int, list[str]]]:
    """Means over seeds of a measure of the test split, by variant: its name, how many seeds, a cell a group."""
    rows = []
    for variant in dict.fromkeys(value.variant for value in numbers.values):
        by_group = [list(numbers.by_seed(variant, measure, group, "test").values()) for group in GROUPS]
        if any(by_group):
            rows.append((variant, max(map(len, by_group)), [_mean(values) for values in by_group]))
    return rows


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    sample = sample_of(values)
    digits = 1 if abs(sample.mean) >= 10 else 2
    mean = f"{sample.mean:.{digits}f}"
    return mean if sample.seeds == 1 else f"{mean} [{sample.low:.{digits}f}, {sample.high:.{digits}f}]"


def means_table(numbers: Numbers, measure: str, title: str) -> str:
    """Means over seeds as a Markdown table."""
    lines = [f"| {title} | seeds | {' | '.join(GROUPS)} |", "|---" * (len(GROUPS) + 2) + "|"]
    lines += [f"| {name} | {seeds} | {' | '.join(cells)} |" for name, seeds, cells in means_rows(numbers, measure)]
    return "\n".join(lines)
