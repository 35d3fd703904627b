"""What holds for every page of its kind: what is missing, and what such figures can and cannot say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from landscape.comparison.caveats.caveat import Caveat, named
from landscape.comparison.compare import Comparison
from landscape.comparison.formatting import count, figure, listing, quoted
from landscape.comparison.loss_grids import planes_of
from landscape.comparison.rows import Row, keys_of, places_of
from landscape.comparison.runs import Run
from landscape.schema import PYHESSIAN_AGREES

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


def _engines(runs: Sequence[Run]) -> Iterator[Caveat]:
    for run in runs:
        for name, measurement in run.of("hessian").items():
            said = (measurement.config, measurement.extent, measurement.attributes)
            if any(where.get("engine") == "pyhessian" for where in said):
                yield Caveat("note", f"hessian/{name} of {quoted(run.name)} was measured with PyHessian's algorithms.")


def _checked(runs: Sequence[Run], rows: Sequence[Row]) -> Iterator[Caveat]:
    """How far PyHessian, asked for the eigenvalue of largest magnitude, agrees."""
    index = places_of(rows)
    for run in runs:
        for name, measurement in run.of("hessian").items():
            data = measurement.data
            if "check_top" not in data or "top" not in data:
                continue
            theirs, ours = data["check_top"].astype(float), data["top"].reshape(len(data["top"]), -1)[:, 0]
            if "bottom" in data:
                bottom = data["bottom"].reshape(len(ours), -1)[:, 0]
                ours = np.where(np.abs(bottom) > np.abs(ours), bottom, ours)
            with np.errstate(divide="ignore", invalid="ignore"):
                apart = np.abs(theirs - ours) / np.abs(ours)
            known = np.flatnonzero(np.isfinite(apart))
            far = known[apart[known] > PYHESSIAN_AGREES]
            near = known[apart[known] <= PYHESSIAN_AGREES]
            where = f"{quoted(run.name)}, {name}"
            if len(near):
                yield Caveat(
                    "note",
                    f"{where}: PyHessian agrees on the eigenvalue of largest magnitude within "
                    f"{max(100 * float(apart[near].max()), 0.01):.2g} % for {len(near)} of {len(known)} subsets",
                    moral="It was run on those subsets alone.",
                )
            if len(far):
                worst, keys = far[np.argmax(apart[far])], keys_of(measurement)
                yield Caveat(
                    "caution",
                    f"{where}: PyHessian disagrees on {named(rows, [index[keys[i]] for i in far])}; furthest apart "
                    f"at {quoted(rows[index[keys[worst]]].title)}: {figure(float(theirs[worst]))} against "
                    f"{figure(float(ours[worst]))} here ({100 * float(apart[worst]):.2g} %)",
                    tuple(index[keys[i]] for i in far),
                    "The residual of this package’s own eigenvalue is stated.",
                )


def _rule(run: Run) -> str:
    groups = (m.config.get("groups") for m in run.landscape.measurements)
    return next((str(group["rule"]) for group in groups if isinstance(group, dict) and "rule" in group), "")


def _seeds(compared: Comparison) -> str:
    runs = compared.runs
    sizes = Counter(run.configuration for run in runs)
    if max(sizes.values()) == 1:
        return (
            "Each run is one trained network. How far two seeds of one method lie apart is not on this page, and a "
            "difference smaller than that is no difference between methods."
        )
    methods = {run.configuration: run.method for run in reversed(runs)}
    told = listing([f"{quoted(methods[number])} ({count(size, 'seed')})" for number, size in sorted(sizes.items())], 6)
    alone = [runs[i].name for i in sorted({i for seeds in compared.seeds for i in seeds.unpaired})]
    rest = f" Without a partner in every comparison: {listing([quoted(name) for name in alone], 6)}." if alone else ""
    return (
        "Runs whose training configuration differs by the seed alone, or that were grouped by name, are one method: "
        f"{told}. They share a color; runs of the same seed are compared as a pair, in the order given where no file "
        f"tells the seed.{rest}"
    )


def standing(compared: Comparison, left_out: int) -> Iterator[Caveat]:
    """What a reader of any such page should know.

    Args:
        compared: What the page compares.
        left_out: How many subsets' surfaces and densities the page had no room for.

    Yields:
        What was not measured, then what such measurements mean.
    """
    runs, views = compared.runs, compared.table.views
    yield from _missing(runs)
    yield from _engines(runs)
    yield from _checked(runs, compared.rows)
    if left_out:
        yield Caveat(
            "note",
            f"Surfaces, densities and matrices of {count(left_out, 'class')} are left out to keep the page small: it "
            "holds the groups and the sharpest and flattest classes. All numbers of all classes are here.",
        )
    if len(runs) > 1:
        yield Caveat("note", _seeds(compared))
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
            "In a random plane each run has its own two directions, filter-normalized so that equal distances mean "
            "equal relative changes of the weights. Depths and widths compare; places do not.",
        )
    if len(views) == 1 and views[0].name in ("train", "test"):
        other = "test" if views[0].name == "train" else "train"
        yield Caveat("note", f"Only the {views[0].name} split was measured; add --split {other} to see the other.")
