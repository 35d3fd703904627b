"""What a reader must know before believing the page: every weakness of the measurements, in plain words."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.report.measures import Table, View
from landscape.report.runs import Run
from landscape.report.subsets import Row
from landscape.report.surfaces import cells_of, planes_of
from landscape.report.words import count, figure, listing, percent, quoted, times
from landscape.store import FAILED, NON_FINITE, TODO, Measurement

FEW_SAMPLES = 20
"""Below this many measured samples a class's figures are told to be uncertain."""
LOSS_RATIO = 3.0
"""Runs whose losses differ by more are told not to be compared by raw curvature."""
TINY_LOSS = 1e-3
"""Below this loss cross-entropy's curvature has all but vanished with it."""
TOLERANCE = 1e-3
"""A residual above this share of |eigenvalue| is told as not converged."""
STEEP = 0.1
"""A gradient norm above which a class is told to sit on a slope."""

LEVELS = ("serious", "caution", "note")


@dataclass(frozen=True)
class Caveat:
    """One thing to know.

    Attributes:
        level: `serious` (a comparison may mislead), `caution` or `note`.
        text: One or two sentences.
        rows: Indices of the subsets it is about; empty when it is about everything.
    """

    level: str
    text: str
    rows: tuple[int, ...] = ()


def caveats_of(runs: Sequence[Run], rows: Sequence[Row], table: Table, left_out: int) -> tuple[Caveat, ...]:
    """Everything the page warns of, the serious first.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        table: Their measures.
        left_out: How many subsets' surfaces and densities the page had no room for.

    Returns:
        The caveats; at least the notes that hold for every page of this kind.
    """
    found = [
        *_different_losses(runs, rows, table),
        *_different_settings(runs),
        *_different_classes(runs, rows),
        *_unfinished(runs),
        *_few_samples(rows, table),
        *_tiny_losses(runs, rows, table),
        *_not_converged(runs, rows),
        *_undecided(runs, rows, table),
        *_slopes(runs, rows, table),
        *_cells(runs),
        *_trajectories(runs),
        *_same_checkpoint(runs),
        *_missing(runs),
        *_standing(runs, table, left_out),
    ]
    return tuple(sorted(found, key=lambda caveat: LEVELS.index(caveat.level)))


def _names(rows: Sequence[Row], indices: Sequence[int], most: int = 3) -> str:
    return listing([quoted(rows[i].title) for i in indices], most)


def _pairs(runs: Sequence[Run]) -> Iterator[tuple[int, int]]:
    return ((0, other) for other in range(1, len(runs)))


def _different_losses(runs: Sequence[Run], rows: Sequence[Row], table: Table) -> Iterator[Caveat]:
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
                f"{len(far)} of {len(rows)} subsets. Curvature shrinks with the loss: {_advice(table)}",
                tuple(far),
            )


def _advice(table: Table) -> str:
    matched = [view.name for view in table.views if view.matched]
    if matched:
        return f"the view {quoted(matched[0])} compares them at equal loss."
    return "compare at matched loss (python -m landscape.hessian --match-loss) before calling one flatter."


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
                f"{_names(rows, indices)}: they are not two methods on one data set.",
                tuple(indices),
            )


def _classes(run: Run) -> dict[tuple[str, str], int]:
    return {
        (name, label): int(size)
        for m in run.landscape.measurements
        for name, label, kind, size in zip(m.subset, m.label, m.kind, m.train_count, strict=True)
        if kind == "class"
    }


def _unfinished(runs: Sequence[Run]) -> Iterator[Caveat]:
    for run in runs:
        for measurement in run.landscape.measurements:
            if measurement.complete:
                continue
            status = measurement.data.get("status")
            done = (
                ""
                if status is None or not status.size
                else f", {percent(float(np.mean(status != TODO)))} of it is there"
            )
            yield Caveat(
                "serious",
                f"{measurement.analysis}/{measurement.name} of {quoted(run.name)} is unfinished{done}: run the same "
                "command again and it continues.",
            )


def _few_samples(rows: Sequence[Row], table: Table) -> Iterator[Caveat]:
    for view in table.views:
        if view.matched:
            continue
        counts = np.full(len(rows), np.nan)
        for columns in view.columns:
            if "measured_count" in columns:
                counts = np.fmin(counts, columns["measured_count"].value)
        small = [i for i in np.argsort(counts, kind="stable") if counts[i] < FEW_SAMPLES and rows[i].kind == "class"]
        if small:
            first = int(small[0])
            many = f" and {len(small) - 1} more classes on fewer than {FEW_SAMPLES}" if len(small) > 1 else ""
            yield Caveat(
                "caution",
                f"{view.name}: {quoted(rows[first].title)} was measured on {count(int(counts[first]), 'sample')}{many}: "
                "these figures describe exactly those samples; as statements about the class their intervals are wide.",
                tuple(int(i) for i in small),
            )


def _each(runs: Sequence[Run], table: Table) -> Iterator[tuple[View, int, Run]]:
    """Every view of every run, but those at matched loss, which serve one comparison only."""
    for view in (view for view in table.views if not view.matched):
        for position, run in enumerate(runs):
            yield view, position, run


def _tiny_losses(runs: Sequence[Run], rows: Sequence[Row], table: Table) -> Iterator[Caveat]:
    for view, position, run in _each(runs, table):
        column = view.columns[position].get("loss")
        if column is None or "top" not in view.columns[position]:
            continue
        tiny = [int(i) for i in np.argsort(column.value, kind="stable") if column.value[i] < TINY_LOSS]
        if tiny:
            yield Caveat(
                "caution",
                f"{quoted(run.name)}, {view.name}: the loss of {_names(rows, tiny)} is below {TINY_LOSS:g} "
                f"(lowest {figure(float(column.value[tiny[0]]))}). Cross-entropy's curvature vanishes with its loss, "
                "so small eigenvalues here say that the samples are fitted, not that the point is flat.",
                tuple(tiny),
            )


def _subset_rows(measurement: Measurement, rows: Sequence[Row]) -> list[int]:
    index = {(row.name, row.label): i for i, row in enumerate(rows)}
    return [index[key] for key in zip(measurement.subset, measurement.label, strict=True)]


def _not_converged(runs: Sequence[Run], rows: Sequence[Row]) -> Iterator[Caveat]:
    for run in runs:
        for name, measurement in run.of("hessian").items():
            data, where = measurement.data, _subset_rows(measurement, rows)
            for end, words in (("top", "largest"), ("bottom", "smallest")):
                if end not in data or f"{end}_residual" not in data:
                    continue
                values = data[end].reshape(len(where), -1)[:, 0].astype(float)
                residual = data[f"{end}_residual"].reshape(len(where), -1)[:, 0].astype(float)
                floor = np.nan_to_num(data.get("noise_floor", np.zeros(len(where))).astype(float))
                top = np.nan_to_num(data["top"].reshape(len(where), -1)[:, 0].astype(float)) if "top" in data else 0.0
                scale = np.maximum.reduce([np.abs(values), 3 * floor, 1e-4 * np.abs(top) + np.zeros(len(where))])
                bad = np.flatnonzero(residual > TOLERANCE * scale)
                if len(bad):
                    worst = bad[np.argmax(residual[bad] / scale[bad])]
                    share = float(residual[worst] / abs(values[worst])) if values[worst] else float("inf")
                    yield Caveat(
                        "caution",
                        f"{quoted(run.name)}, {name}: the {words} eigenvalue of {_names(rows, [where[i] for i in bad])} "
                        f"is not converged; the worst is known to ± {figure(float(residual[worst]))}"
                        f"{f' ({percent(share)} of it)' if share < 10 else ''}.",
                        tuple(where[i] for i in bad),
                    )
            failed = np.flatnonzero(np.isin(data.get("status", np.empty(0)), (NON_FINITE, FAILED)))
            if len(failed):
                yield Caveat(
                    "serious",
                    f"{quoted(run.name)}, {name}: the Hessian of {_names(rows, [where[i] for i in failed])} is not "
                    "finite or could not be measured; it is left out, not replaced.",
                    tuple(where[i] for i in failed),
                )


def _undecided(runs: Sequence[Run], rows: Sequence[Row], table: Table) -> Iterator[Caveat]:
    for view, position, run in _each(runs, table):
        undecided = [i for i, verdict in enumerate(view.verdicts[position]) if verdict == "undecided"]
        if undecided:
            yield Caveat(
                "caution",
                f"{quoted(run.name)}, {view.name}: whether {_names(rows, undecided)} has negative curvature is "
                "undecided: the smallest eigenvalue is not told from zero at the product's noise floor, or did not "
                "converge.",
                tuple(undecided),
            )


def _slopes(runs: Sequence[Run], rows: Sequence[Row], table: Table) -> Iterator[Caveat]:
    for view, position, run in _each(runs, table):
        column = view.columns[position].get("gradient")
        if column is None:
            continue
        steep = [int(i) for i in np.argsort(-np.nan_to_num(column.value)) if column.value[i] > STEEP]
        if steep:
            yield Caveat(
                "note",
                f"{quoted(run.name)}, {view.name}: {len(steep)} of {int(np.isfinite(column.value).sum())} subsets have "
                f"a gradient norm above {STEEP:g} (steepest {quoted(rows[steep[0]].title)}, "
                f"{figure(float(column.value[steep[0]]))}). They sit on a slope: negative curvature there is no saddle, "
                "and positive curvature no minimum.",
                tuple(steep),
            )


def _cells(runs: Sequence[Run]) -> Iterator[Caveat]:
    for run in runs:
        for plane in planes_of(run):
            cells, where = cells_of(plane), f"surface/{plane.name} of {quoted(run.name)}"
            if not cells.total:
                continue
            if cells.non_finite or cells.failed:
                yield Caveat(
                    "caution",
                    f"{where}: {cells.non_finite} of {cells.total:,} points are not finite and {cells.failed} failed; "
                    "they are marked and never filled in.",
                )
            if cells.interpolated:
                stated = f", off by at most {figure(cells.error)} where checked" if np.isfinite(cells.error) else ""
                yield Caveat(
                    "note",
                    f"{where}: {percent(cells.interpolated / cells.total)} of the points are interpolated{stated}; "
                    "“Points” shows which were measured.",
                )


def _trajectories(runs: Sequence[Run]) -> Iterator[Caveat]:
    for run in runs:
        for plane in planes_of(run):
            share = next((v for k, v in plane.data.items() if k.startswith("trajectory/") and "share" in k), None)
            known = np.asarray(share, dtype=float) if share is not None else np.empty(0)
            known = known[np.isfinite(known)]
            if known.size:
                yield Caveat(
                    "note",
                    f"surface/{plane.name} of {quoted(run.name)}: up to {percent(float(known.max()))} of the distance "
                    "to the trajectory's points lies outside the plane and is not shown.",
                )


def _same_checkpoint(runs: Sequence[Run]) -> Iterator[Caveat]:
    for a, b in itertools.combinations(range(len(runs)), 2):
        if runs[a].landscape.checkpoint_sha256 == runs[b].landscape.checkpoint_sha256:
            yield Caveat(
                "serious", f"{quoted(runs[a].name)} and {quoted(runs[b].name)} measured the very same checkpoint file."
            )


_COMMANDS: dict[str, str] = {
    "evaluation": "hessian",
    "hessian": "hessian",
    "sharpness": "sharpness",
    "surface": "surface",
}


def _missing(runs: Sequence[Run]) -> Iterator[Caveat]:
    for run in runs:
        absent = [analysis for analysis in _COMMANDS if not run.of(analysis)]
        if absent:
            commands = listing([f"python -m landscape.{_COMMANDS[analysis]}" for analysis in absent])
            yield Caveat("caution", f"{quoted(run.name)} has no {listing(absent)}; add it with {commands}.")


def _rule(run: Run) -> str:
    groups = (m.config.get("groups") for m in run.landscape.measurements)
    return next((str(group["rule"]) for group in groups if isinstance(group, dict) and "rule" in group), "")


def _standing(runs: Sequence[Run], table: Table, left_out: int) -> Iterator[Caveat]:
    if left_out:
        yield Caveat(
            "note",
            f"Surfaces and densities of {count(left_out, 'class')} are left out to keep the page small: it holds the "
            "groups and the sharpest and flattest classes. All numbers of all classes are here.",
        )
    if len(runs) > 1:
        yield Caveat(
            "note",
            "Each run is one trained network. How far two seeds of one method lie apart is not on this page, and a "
            "difference smaller than that is no difference between methods.",
        )
    if any(_rule(run) == "rank thirds" for run in runs):
        yield Caveat(
            "note",
            "With so few classes a group would be empty by the usual counts (many above 100, few below 20 training "
            "samples), so many, medium and few are thirds of the classes by rank.",
        )
    if any(planes_of(run) for run in runs):
        yield Caveat(
            "note",
            "Eigenvalues are of the automatic derivative's Hessian at the point itself; surfaces show the loss over a "
            "finite range. In networks with ReLU the two need not agree.",
        )
    if len(runs) > 1 and any(str(p.config.get("plane", "random")) == "random" for run in runs for p in planes_of(run)):
        yield Caveat(
            "note",
            "In a random plane each run has its own two directions, filter-normalised so that equal distances mean "
            "equal relative changes of the weights. Depths and widths compare; places do not.",
        )
    if len(table.views) == 1 and table.views[0].name in ("train", "test"):
        other = "test" if table.views[0].name == "train" else "train"
        yield Caveat(
            "note", f"Only the {table.views[0].name} split was measured; add --split {other} to see the other."
        )
