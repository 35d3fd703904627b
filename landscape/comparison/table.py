"""What the page can plot for a subset: one number a run, with an error where one is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from landscape.comparison.columns import Z95, Column, Measure
from landscape.comparison.curvature import BRACKETS, CURVATURE, read_curvature
from landscape.comparison.rows import Key, Row, keys_of, places_of
from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement
from landscape.schema import VERDICTS


@dataclass(frozen=True)
class View:
    """What one split (or another configuration) says of every run.

    Attributes:
        name: The measurements' name, such as `train`.
        columns: By run, then by the measure's key.
        verdicts: By run: `negative`, `none-found`, `undecided` or empty, one a row.
        matched: Whether each run was lifted to another run's loss by a temperature.
    """

    name: str
    columns: tuple[dict[str, Column], ...]
    verdicts: tuple[tuple[str, ...], ...]
    matched: bool = False


FIT = (
    Measure(
        "accuracy", "Accuracy", "Accuracy", "linear", "Fit",
        "share of the subset's samples classified rightly", "95 % Wilson interval over the samples", percent=True,
    ),
    Measure("loss", "Loss", "Loss", "log", "Fit", "mean evaluation loss of the subset"),
    Measure(
        "temperature", "Temperature", "Temperature", "log", "Fit",
        "what the logits were divided by to reach the other run's loss",
    ),
    Measure(
        "gradient", "Gradient norm ‖∇L‖", "‖∇L‖", "log", "Fit",
        "length of the subset's gradient; 0 where it is stationary",
    ),
)  # fmt: skip

COUNTS = (
    Measure("train_count", "Training samples", "n train", "log", "Counts", "samples of the subset in the training set"),
    Measure("measured_count", "Measured samples", "n meas.", "log", "Counts", "samples these figures were measured on"),
)

_KINDS = {
    "sam": ("SAM sharpness, one step", "SAM", "rise of the loss after one step of length ρ up the gradient"),
    "sam_steps": (
        "SAM sharpness",
        "Sharpness",
        "largest rise of the loss that repeated ascent found within distance ρ",
    ),
    "adaptive": ("Adaptive sharpness", "Adaptive", "rise after one step of ρ, each weight in proportion to its size"),
    "average": ("Average-case sharpness", "Average", "mean rise under Gaussian noise of ρ times each weight"),
}
_KIND_ORDER = ("sam_steps", "sam", "adaptive", "average")


@dataclass(frozen=True)
class Table:
    """Every number of the page that is one per subset, run and view.

    Attributes:
        measures: Those that any run has, in the order they are listed.
        views: Train first, then test, then the others by name.
        sharpness: The key of the sharpness the summary shows, empty when none was measured.
        summary: Keys of the measures that a summary shows, in their order.
    """

    measures: tuple[Measure, ...]
    views: tuple[View, ...]
    sharpness: str = ""
    summary: tuple[str, ...] = ()
    keys: frozenset[str] = field(default_factory=frozenset)


def tabulate(runs: Sequence[Run], rows: Sequence[Row]) -> Table:
    """Gathers the scalar measures of all runs.

    Args:
        runs: The page's runs.
        rows: The page's subsets.

    Returns:
        The table; measures nobody measured are left out.
    """
    index = places_of(rows)
    radii = sorted({float(r) for run in runs for m in run.of("sharpness").values() for r in m.data.get("radius", ())})
    sharp = [_sharpness_measure(kind, radius) for radius in radii for kind in _KIND_ORDER]
    views = tuple(_view(name, runs, index) for name in view_names(runs))
    present = {
        key
        for view in views
        for columns in view.columns
        for key, column in columns.items()
        if np.isfinite(column.value).any()
    }
    measures = tuple(m for m in (*FIT, *_curvature(runs), *sharp, *COUNTS) if m.key in present)
    middle = radii[len(radii) // 2] if radii else 0.0
    shown = next((k for kind in _KIND_ORDER if (k := f"{kind}@{middle:g}") in present), "")
    keys = frozenset(m.key for m in measures)
    wanted = ("accuracy", "loss", "scaled", "trace_scaled", "top", "bottom", "ratio", "trace", shown, "negative_share")
    return Table(measures, views, shown, tuple(key for key in wanted if key in keys), keys)


def view_names(runs: Sequence[Run]) -> list[str]:
    """Names of all scalar measurements, train before test before the rest.

    An evaluation under a name of its own belongs to the surface or the Hessian of that name and makes no view alone.
    """
    names = {name for run in runs for analysis in ("hessian", "sharpness") for name in run.of(analysis)}
    names |= {name for run in runs for name, m in run.of("evaluation").items() if m.config.get("split", name) == name}
    return sorted(names, key=lambda name: ({"train": 0, "test": 1}.get(name, 2), name))


def _curvature(runs: Sequence[Run]) -> tuple[Measure, ...]:
    """The curvature measures; their bars mean more where any run held samples out."""
    held = {
        key for run in runs for m in run.of("hessian").values() for key in BRACKETS if f"{key}_held_out_se" in m.data
    }
    return tuple(replace(m, error=BRACKETS[m.key]) if m.key in held else m for m in CURVATURE)


def _sharpness_measure(kind: str, radius: float) -> Measure:
    title, short, words = _KINDS[kind]
    error = "95 % interval over the draws" if kind == "average" else ""
    return Measure(
        f"{kind}@{radius:g}", f"{title}, ρ = {radius:g}", f"{short} ρ {radius:g}", "signed", "Sharpness", words, error
    )


def _view(name: str, runs: Sequence[Run], index: dict[Key, int]) -> View:
    columns, verdicts = [], []
    for run in runs:
        hessian = run.of("hessian").get(name)
        sharpness = run.of("sharpness").get(name)
        evaluation = _evaluation(run, name, hessian or sharpness)
        lifted = any("match_loss" in m.config for m in (hessian, sharpness) if m is not None)
        found: dict[str, Column] = {}
        for measurement, read in ((evaluation, _fit), (hessian, read_curvature), (sharpness, _sharpness)):
            if measurement is not None:
                where = np.array([index[key] for key in keys_of(measurement)], dtype=int)
                for key, column in {**_counts(measurement), **read(measurement)}.items():
                    if not lifted or measurement is not evaluation or key == "accuracy":  # the loss there is another
                        found[key] = _filled(_spread(column, where, len(index)), found.get(key))
        columns.append(found)
        verdicts.append(_verdicts(hessian, index))
    measured = [run.of(analysis).get(name) for run in runs for analysis in ("hessian", "sharpness")]
    matched = any("match_loss" in m.config for m in measured if m is not None)
    return View(name, tuple(columns), tuple(verdicts), matched)


def _evaluation(run: Run, name: str, other: Measurement | None) -> Measurement | None:
    """The evaluation of that name; for a measurement with a name of its own, that of its split."""
    known = run.of("evaluation")
    if name in known or other is None:
        return known.get(name)
    return known.get(str(other.config.get("split", "")))


def _spread(column: Column, where: np.ndarray, size: int) -> Column:
    def over(values: np.ndarray | None) -> np.ndarray | None:
        if values is None:
            return None
        full = np.full(size, np.nan)
        full[where] = values
        return full

    value = over(column.value)
    assert value is not None
    return Column(value, over(column.low), over(column.high))


def _filled(column: Column, before: Column | None) -> Column:
    """A column with the rows it lacks taken from an earlier one, where neither has error bars."""
    if before is None or column.low is not None or before.low is not None:
        return column
    return Column(np.where(np.isfinite(column.value), column.value, before.value))


def _counts(measurement: Measurement) -> dict[str, Column]:
    return {
        "train_count": Column(measurement.train_count.astype(float)),
        "measured_count": Column(measurement.measured_count.astype(float)),
    }


def _fit(measurement: Measurement) -> dict[str, Column]:
    found: dict[str, Column] = {}
    if "loss" in measurement.data:
        found["loss"] = Column(measurement.data["loss"].astype(float))
    if "accuracy" in measurement.data:
        share = measurement.data["accuracy"].astype(float)
        # `balanced` is a mean of class means: its samples do not weigh alike, so Wilson's interval is not its own.
        counts = np.where(np.array(measurement.kind) == "balanced", np.nan, measurement.measured_count.astype(float))
        found["accuracy"] = Column(share, *wilson(share, counts))
    return found


def wilson(share: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The 95 % score interval of a proportion (Wilson, JASA 22, 1927): sound at 0, at 1 and for few samples.

    Args:
        share: Observed proportions, (S,).
        count: Samples behind each, (S,).

    Returns:
        Lower and upper ends, (S,) each; NaN without samples.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        z2 = Z95**2 / count
        center = (share + z2 / 2) / (1 + z2)
        half = Z95 / (1 + z2) * np.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return np.where(count > 0, center - half, np.nan), np.where(count > 0, center + half, np.nan)


def _sharpness(measurement: Measurement) -> dict[str, Column]:
    data, found = measurement.data, dict[str, Column]()
    if "match_loss" in measurement.config:
        told = {"loss": "loss", "gradient": "gradient_norm", "temperature": "temperature"}
        found |= {key: Column(data[name].astype(float)) for key, name in told.items() if name in data}
    for position, radius in enumerate(data.get("radius", ())):
        for kind in _KIND_ORDER:
            if kind not in data:
                continue
            value = data[kind][:, position].astype(float)
            error = data.get(f"{kind}_se")
            half = None if error is None else Z95 * error[:, position].astype(float)
            found[f"{kind}@{float(radius):g}"] = (
                Column(value) if half is None else Column(value, value - half, value + half)
            )
    return found


def _verdicts(measurement: Measurement | None, index: dict[Key, int]) -> tuple[str, ...]:
    found = [""] * len(index)
    if measurement is not None and "verdict" in measurement.data:
        for key, verdict in zip(keys_of(measurement), measurement.data["verdict"], strict=True):
            text = verdict.decode() if isinstance(verdict, bytes) else str(verdict)
            found[index[key]] = text if text in VERDICTS else ""
    return tuple(found)
