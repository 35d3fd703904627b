"""Whether the runs can be compared at all: losses, settings, classes, checkpoints."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from landscape.comparison.caveats.caveat import Caveat, named
from landscape.comparison.compare import Comparison
from landscape.comparison.flatness import equal_losses
from landscape.comparison.formatting import count, figure, quoted, times
from landscape.comparison.rows import Row
from landscape.comparison.runs import Run
from landscape.comparison.table import Table
from landscape.comparison.weight_norm import weight_norm

LOSS_RATIO = 3.0
"""Runs whose losses differ by more are told not to be compared by raw curvature."""

NORM_RATIO = 1.1
"""Runs whose weights differ more in length are told not to be compared by raw curvature."""


def comparability(compared: Comparison) -> Iterator[Caveat]:
    """What makes the other runs unlike the first.

    Args:
        compared: What the page compares.

    Yields:
        A caveat for each difference that a comparison could be mistaken by.
    """
    yield from _different_losses(compared)
    yield from _different_norms(compared.runs)
    yield from _different_settings(compared.runs)
    yield from _different_classes(compared.runs, compared.rows)
    yield from _same_checkpoint(compared.runs)


def _pairs(runs: Sequence[Run]) -> Iterator[tuple[int, int]]:
    return ((0, other) for other in range(1, len(runs)))


def _different_losses(compared: Comparison) -> Iterator[Caveat]:
    runs, rows, table = compared.runs, compared.rows, compared.table
    for view, (a, b) in itertools.product(table.views, _pairs(runs)):
        if view.matched or "loss" not in view.columns[a] or "loss" not in view.columns[b]:
            continue
        ratio = _ratio(view.columns[b]["loss"].value, view.columns[a]["loss"].value)
        apart = np.where(np.isfinite(ratio), np.abs(np.log(np.where(ratio > 0, ratio, 1.0))), 0.0)
        far = [int(i) for i in np.argsort(-apart, kind="stable") if apart[i] > np.log(LOSS_RATIO)]
        if far:
            worst = far[0]
            yield Caveat(
                "serious",
                f"{quoted(runs[a].name)} and {quoted(runs[b].name)} differ in {view.name} loss by up to "
                f"{times(float(np.exp(apart[worst])))} ({quoted(rows[worst].title)}: "
                f"{figure(float(view.columns[a]['loss'].value[worst]))} against "
                f"{figure(float(view.columns[b]['loss'].value[worst]))}), by more than {LOSS_RATIO:g}× on "
                f"{len(far)} of {len(rows)} subsets",
                tuple(far),
                f"Curvature shrinks with the loss: {_advice(table, a, b)}",
            )


def _different_norms(runs: Sequence[Run]) -> Iterator[Caveat]:
    for a, b in _pairs(runs):
        norms = [weight_norm(runs[a]), weight_norm(runs[b])]
        if all(norm > 0 for norm in norms) and max(norms) > NORM_RATIO * min(norms):
            yield Caveat(
                "serious",
                f"The weights of {quoted(runs[a].name)} and {quoted(runs[b].name)} differ in length, ‖w‖ "
                f"{figure(norms[0])} against {figure(norms[1])}. Raw eigenvalues, traces and SAM sharpness change when "
                "a network is merely rescaled: only the scale-free measures, those of |w|H|w| and adaptive sharpness, "
                "compare.",
            )


def _advice(table: Table, a: int, b: int) -> str:
    for view in table.views:
        losses = [view.columns[run]["loss"].value for run in (a, b) if "loss" in view.columns[run]]
        pairs = [pair for pair in zip(*losses, strict=True) if np.isfinite(pair).all()] if len(losses) == 2 else []
        if view.matched and pairs and all(equal_losses(*pair) for pair in pairs):
            return f"the view {quoted(view.name)} compares {count(len(pairs), 'subset')} at equal loss."
    return "compare at equal loss (python -m landscape.hessian --match-loss) before calling one flatter."


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above / below)


_SETTINGS = {
    "split": "the split", "loss": "the loss", "batch_norm": "the BatchNorm mode", "dtype": "the number format",
    "params": "the measured parameters", "data": "the data set", "model": "the network", "epoch": "the epoch",
    "plane": "the plane", "seed": "the random seed",
}  # fmt: skip


def _different_settings(runs: Sequence[Run]) -> Iterator[Caveat]:
    for analysis in ("evaluation", "hessian", "sharpness", "surface"):
        for a, b in _pairs(runs):
            first, second = runs[a].of(analysis), runs[b].of(analysis)
            for name in [name for name in first if name in second]:
                for key, words in _SETTINGS.items():
                    ours, theirs = first[name].config.get(key), second[name].config.get(key)
                    if ours != theirs and not (key == "seed" and analysis == "evaluation"):
                        yield Caveat(
                            "note" if key == "seed" else "serious",
                            f"{analysis}/{name} differs in {words}: {quoted(str(ours))} in {quoted(runs[a].name)}, "
                            f"{quoted(str(theirs))} in {quoted(runs[b].name)}.",
                        )


def _different_classes(runs: Sequence[Run], rows: Sequence[Row]) -> Iterator[Caveat]:
    sets = [_classes(run) for run in runs]
    for a, b in _pairs(runs):
        only = [len(sets[a].keys() - sets[b].keys()), len(sets[b].keys() - sets[a].keys())]
        if any(only) and sets[a] and sets[b]:
            yield Caveat(
                "serious",
                f"{quoted(runs[a].name)} and {quoted(runs[b].name)} were not measured on the same classes: "
                f"{only[0]} only in the first, {only[1]} only in the second. Group figures do not compare.",
            )
        shared = [key for key in sets[a].keys() & sets[b].keys() if sets[a][key] != sets[b][key]]
        if shared:
            indices = [i for i, row in enumerate(rows) if (row.name, row.label) in shared]
            yield Caveat(
                "serious",
                f"{quoted(runs[a].name)} and {quoted(runs[b].name)} were trained on different counts of "
                f"{named(rows, indices)}: they are not two methods on one data set.",
                tuple(indices),
            )


def _classes(run: Run) -> dict[tuple[str, str], int]:
    return {
        (name, label): int(size)
        for m in run.landscape.measurements
        for name, label, kind, size in zip(m.subset, m.label, m.kind, m.train_count, strict=True)
        if kind == "class"
    }


def _same_checkpoint(runs: Sequence[Run]) -> Iterator[Caveat]:
    for a, b in itertools.combinations(range(len(runs)), 2):
        if runs[a].landscape.checkpoint_sha256 == runs[b].landscape.checkpoint_sha256:
            yield Caveat(
                "serious", f"{quoted(runs[a].name)} and {quoted(runs[b].name)} measured the very same checkpoint file."
            )
