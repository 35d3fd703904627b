"""How well each number was measured: samples, convergence, noise, slopes, cells, unfinished work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from landscape.comparison.caveats.caveat import Caveat, named
from landscape.comparison.compare import Comparison
from landscape.comparison.formatting import count, figure, percent, quoted
from landscape.comparison.loss_grids import cells_of, hidden_share, planes_of
from landscape.comparison.rows import Row, keys_of, places_of
from landscape.comparison.runs import Run
from landscape.comparison.table import View
from landscape.schema import FAILED, NON_FINITE, TODO

FEW_SAMPLES = 20
"""Below this many measured samples a class's figures are told to be uncertain."""
TINY_LOSS = 1e-3
"""Below this loss cross-entropy's curvature has all but vanished with it."""
TOLERANCE = 1e-3
"""A residual above this share of |eigenvalue| is told as not converged where the file does not say."""
VISIBLE = 0.005
"""A larger share of a trajectory's distance outside its plane is told."""
HELD_OUT = 0.5
"""Below this share of the plain top eigenvalue a held-out one is told: most of the sharpness does not carry over."""
STEEP = 0.1
"""A gradient norm above which a class is told to sit on a slope."""


def quality(compared: Comparison) -> Iterator[Caveat]:
    """What weakens single numbers.

    Args:
        compared: What the page compares.

    Yields:
        A caveat for each weakness of each run and split.
    """
    yield from _unfinished(compared.runs)
    yield from _not_finite(compared.runs, compared.rows)
    yield from _few_samples(compared)
    yield from _tiny_losses(compared)
    yield from _not_converged(compared.runs, compared.rows)
    yield from _held_out(compared)
    yield from _undecided(compared)
    yield from _slopes(compared)
    yield from _cells(compared.runs)
    yield from _trajectories(compared.runs)


def _unfinished(runs: Sequence[Run]) -> Iterator[Caveat]:
    for run in runs:
        if run.busy:
            yield Caveat(
                "serious",
                f"{quoted(run.name)} has unfinished measurements that another process is writing, or that cannot be "
                "read; only the finished ones are here.",
            )
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


def _few_samples(compared: Comparison) -> Iterator[Caveat]:
    rows = compared.rows
    for view in compared.table.views:
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
            size = count(int(counts[first]), "sample")
            yield Caveat(
                "caution",
                f"{view.name}: {quoted(rows[first].title)} was measured on {size}{many}",
                tuple(int(i) for i in small),
                "These figures describe exactly those samples; as statements about the class they are uncertain and "
                "their intervals wide.",
            )


def _each(compared: Comparison) -> Iterator[tuple[View, int, Run]]:
    """Every view of every run, but those at matched loss, which serve one comparison only."""
    for view in (view for view in compared.table.views if not view.matched):
        for position, run in enumerate(compared.runs):
            yield view, position, run


def _tiny_losses(compared: Comparison) -> Iterator[Caveat]:
    rows = compared.rows
    for view, position, run in _each(compared):
        column = view.columns[position].get("loss")
        if column is None or "top" not in view.columns[position]:
            continue
        tiny = [int(i) for i in np.argsort(column.value, kind="stable") if column.value[i] < TINY_LOSS]
        if tiny:
            yield Caveat(
                "caution",
                f"{quoted(run.name)}, {view.name}: the loss of {named(rows, tiny)} is below {TINY_LOSS:g} "
                f"(lowest {figure(float(column.value[tiny[0]]))})",
                tuple(tiny),
                "Cross-entropy's curvature vanishes with its loss, so small eigenvalues there say that the samples are "
                "fitted, not that the point is flat.",
            )


def _not_converged(runs: Sequence[Run], rows: Sequence[Row]) -> Iterator[Caveat]:
    index = places_of(rows)
    for run in runs:
        for name, measurement in run.of("hessian").items():
            data, where = measurement.data, [index[key] for key in keys_of(measurement)]
            values, residuals = np.empty((len(where), 0)), np.empty((len(where), 0))
            for end in ("top", "bottom"):
                if end in data and f"{end}_residual" in data:
                    values = np.hstack([values, data[end].reshape(len(where), -1)[:, :1]])
                    residuals = np.hstack([residuals, data[f"{end}_residual"].reshape(len(where), -1)[:, :1]])
            if not values.size:
                continue
            with np.errstate(divide="ignore", invalid="ignore"):
                share = residuals / np.abs(values)
            done = np.isfinite(values).all(axis=1)
            bad = np.flatnonzero(
                done & (data["converged"] == 0 if "converged" in data else (share > TOLERANCE).any(axis=1))
            )
            if len(bad):
                worst = np.unravel_index(np.argmax(np.nan_to_num(share[bad], posinf=0)), share[bad].shape)
                told = f"{figure(float(values[bad][worst]))} ± {figure(float(residuals[bad][worst]))}"
                yield Caveat(
                    "caution",
                    f"{quoted(run.name)}, {name}: not every eigenvalue of {named(rows, [where[i] for i in bad])} "
                    f"converged; the least certain is {told} ({quoted(rows[where[bad[worst[0]]]].title)}).",
                    tuple(where[i] for i in bad),
                )


def _held_out(compared: Comparison) -> Iterator[Caveat]:
    rows = compared.rows
    for view, position, run in _each(compared):
        top, held = (view.columns[position].get(key) for key in ("top", "top_held_out"))
        if top is None or held is None:
            continue
        share = np.where(top.value > 0, held.value, np.nan) / np.where(top.value > 0, top.value, 1.0)
        loose = [int(i) for i in np.argsort(share, kind="stable") if share[i] < HELD_OUT]
        if loose:
            first = loose[0]
            yield Caveat(
                "caution",
                f"{quoted(run.name)}, {view.name}: the sharpest directions of {named(rows, loose)} belong to their "
                f"samples more than to the class ({quoted(rows[first].title)}: {figure(float(top.value[first]))} on "
                f"its own samples, {figure(float(held.value[first]))} held out)",
                tuple(loose),
                f"Found on one half of the samples, they curve the other half less than {percent(HELD_OUT)} as much.",
            )


def _not_finite(runs: Sequence[Run], rows: Sequence[Row]) -> Iterator[Caveat]:
    index = places_of(rows)
    for run in runs:
        for name, measurement in run.of("hessian").items():
            status = measurement.data.get("status", np.empty(0))
            failed = [index[keys_of(measurement)[i]] for i in np.flatnonzero(np.isin(status, (NON_FINITE, FAILED)))]
            if failed:
                yield Caveat(
                    "serious",
                    f"{quoted(run.name)}, {name}: the Hessian of {named(rows, failed)} is not finite or could not be "
                    "measured; it is left out, not replaced.",
                    tuple(failed),
                )


def _undecided(compared: Comparison) -> Iterator[Caveat]:
    rows = compared.rows
    for view, position, run in _each(compared):
        undecided = [i for i, verdict in enumerate(view.verdicts[position]) if verdict == "undecided"]
        if undecided:
            yield Caveat(
                "caution",
                f"{quoted(run.name)}, {view.name}: whether there is negative curvature at "
                f"{named(rows, undecided)} is undecided",
                tuple(undecided),
                "The smallest eigenvalue is not told from zero at the noise floor of the product, or did not converge.",
            )


def _slopes(compared: Comparison) -> Iterator[Caveat]:
    rows = compared.rows
    for view, position, run in _each(compared):
        column = view.columns[position].get("gradient")
        if column is None:
            continue
        steep = [int(i) for i in np.argsort(-np.nan_to_num(column.value)) if column.value[i] > STEEP]
        if steep:
            yield Caveat(
                "note",
                f"{quoted(run.name)}, {view.name}: {len(steep)} of {int(np.isfinite(column.value).sum())} subsets have "
                f"a gradient norm above {STEEP:g} (steepest {quoted(rows[steep[0]].title)}, "
                f"{figure(float(column.value[steep[0]]))})",
                tuple(steep),
                "They sit on a slope: negative curvature there is no saddle, and positive curvature no minimum.",
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
                stated = f", with stated errors up to {figure(cells.error)}" if np.isfinite(cells.error) else ""
                yield Caveat(
                    "note",
                    f"{where}: {percent(cells.interpolated / cells.total)} of the points are interpolated{stated}",
                    moral="“Points” shows which were measured.",
                )


def _trajectories(runs: Sequence[Run]) -> Iterator[Caveat]:
    for run in runs:
        for plane in planes_of(run):
            hidden = hidden_share(plane)
            known = hidden[np.isfinite(hidden)] if hidden is not None else np.empty(0)
            if known.size and known.max() > VISIBLE:
                yield Caveat(
                    "note",
                    f"surface/{plane.name} of {quoted(run.name)}: up to {percent(float(known.max()))} of the distance "
                    "to the trajectory's points lies outside the plane",
                    moral="That part of the way is not shown.",
                )
