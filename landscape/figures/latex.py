"""The summary as a LaTeX table with booktabs rules."""

from __future__ import annotations

import math

from landscape.comparison.columns import Measure
from landscape.comparison.compare import Comparison
from landscape.comparison.table import View

_SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"\textless{}", ">": r"\textgreater{}",
}  # fmt: skip
_HEADS = {
    "accuracy": r"Acc.\ (\%)", "loss": "Loss", "top": r"$\lambda_1$", "bottom": r"$\lambda_{\min}$", "trace": "Trace",
    "scaled": r"$\lambda_1(|w|H|w|)$", "trace_scaled": r"tr$\,|w|H|w|$", "negative_share": r"Neg.\ (\%)",
    "ratio": r"$|\lambda_{\min}|/\lambda_1$",
}  # fmt: skip


def escaped(text: str) -> str:
    """A text that LaTeX sets as it is."""
    return "".join(_SPECIAL.get(letter, letter) for letter in text if letter.isprintable())


def latex_table(compared: Comparison, view: View) -> str:
    r"""The groups' accuracy, loss and curvature, a line a group and run; the best accuracy of each group is bold.

    Args:
        compared: The runs and their subsets; the groups are shown, and the classes when there are at most 10.
        view: The split to show; accuracy is that of the test split where it was evaluated.

    Returns:
        A `tabular` for a document that loads `booktabs`.
    """
    runs, rows, table = compared.runs, compared.rows, compared.table
    judged = next((v for v in table.views if v.name == "test"), view)
    accurate = judged if any("accuracy" in columns for columns in judged.columns) else view
    shown = [
        (measure, source)
        for key in table.summary
        for measure, source in ((m, accurate if key == "accuracy" else view) for m in table.measures if m.key == key)
        if any(key in columns for columns in source.columns)
    ]
    classes = sum(row.kind == "class" for row in rows)
    drawn = [i for i, row in enumerate(rows) if row.kind != "class" or classes <= 10]
    lines = [
        f"% {view.name} split; accuracy: {accurate.name} split",
        r"% needs \usepackage{booktabs}",
        rf"\begin{{tabular}}{{llr{'r' * len(shown)}}}",
        r"\toprule",
        " & ".join(["Subset", "Run", "$n$", *(_head(m, source, view) for m, source in shown)]) + r" \\",
    ]
    before = ""
    for i in drawn:
        lines.append(r"\midrule" if rows[i].kind != before or rows[i].kind == "group" else r"\addlinespace[2pt]")
        before = rows[i].kind
        for position, run in enumerate(runs):
            name = escaped(rows[i].title) if position == 0 else ""
            cells = [name, escaped(run.name), f"{rows[i].train_count:,}".replace(",", r"\,") if position == 0 else ""]
            cells += [_cell(m, source, position, i) for m, source in shown]
            lines.append(" & ".join(cells) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _head(measure: Measure, source: View, view: View) -> str:
    if source is not view:
        return f"{source.name.capitalize()} {_HEADS[measure.key][0].lower()}{_HEADS[measure.key][1:]}"
    return _HEADS.get(measure.key, escaped(measure.short.replace("ρ", "@")).replace("@", r"$\rho$"))


def _cell(measure: Measure, view: View, position: int, row: int) -> str:
    values = [float(c[measure.key].value[row]) if measure.key in c else math.nan for c in view.columns]
    value = values[position]
    if not math.isfinite(value):
        return "--"
    text = f"{100 * value:.1f}" if measure.percent else _three(value)
    known = [v for v in values if math.isfinite(v)]
    best = measure.key == "accuracy" and len(known) > 1 and value == max(known) and known.count(value) == 1
    return rf"\textbf{{{text}}}" if best else text


def _three(value: float) -> str:
    """Three significant digits: 0.0213, 1 830 with a thin space, 2.1 with its power of ten."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(value)))
    if exponent < -3 or exponent > 5:
        return rf"${value / 10.0**exponent:.1f}\times10^{{{exponent}}}$"
    text = f"{value:,.{max(0, 2 - exponent)}f}".replace(",", r"\,")
    return f"${text}$" if value < 0 else text
