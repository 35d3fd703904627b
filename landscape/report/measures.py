"""What the page can plot for a subset: one number a run, with an error where one is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from landscape.report.runs import Run
from landscape.report.subsets import Row, keys_of
from landscape.store import Measurement

Z95 = 1.959964
"""The 97.5 % point of the normal distribution."""


@dataclass(frozen=True)
class Measure:
    """A quantity of the page.

    Attributes:
        key: Its short name, also in the page's address.
        title: What an axis says.
        short: What a table's head says.
        scale: `log` or `linear`; `signed` is linear around 0 and logarithmic beyond.
        family: The heading it is listed under.
        words: What it is, in a sentence.
        error: What its error bar is, in words; empty when it has none.
        percent: Whether it is a share, shown in per cent.
    """

    key: str
    title: str
    short: str
    scale: str
    family: str
    words: str
    error: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Column:
    """A measure of one run in one view.

    Attributes:
        value: (S,), NaN where it was not measured.
        low: Lower end of the error bar, (S,), or None.
        high: Its upper end.
    """

    value: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None


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


BASIC = (
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
    Measure(
        "top", "Top eigenvalue λ₁", "λ₁", "log", "Curvature",
        "largest eigenvalue of the subset's Hessian: curvature along the sharpest direction",
        "± the residual ‖Hv − λv‖: an eigenvalue lies within it",
    ),
    Measure(
        "bottom", "Bottom eigenvalue λmin", "λmin", "signed", "Curvature",
        "smallest eigenvalue of the subset's Hessian: below 0 the loss falls away on both sides",
        "± the residual ‖Hv − λv‖: an eigenvalue lies within it",
    ),
    Measure(
        "ratio", "Negativity |λmin| / λ₁", "|λmin|/λ₁", "log", "Curvature",
        "depth of the most negative curvature as a share of the sharpest; free of the loss's scale",
    ),
    Measure(
        "trace", "Hessian trace", "Trace", "signed", "Curvature",
        "sum of all eigenvalues: mean curvature times the number of parameters", "95 % interval of the probes",
    ),
    Measure(
        "scaled", "Top eigenvalue of |w|H|w|", "λ₁ scaled", "log", "Curvature",
        "top eigenvalue after scaling every parameter by its size: comparable across heads and weight decay",
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
    """

    measures: tuple[Measure, ...]
    views: tuple[View, ...]
    sharpness: str = ""
    keys: frozenset[str] = field(default_factory=frozenset)


def tabulate(runs: Sequence[Run], rows: Sequence[Row]) -> Table:
    """Gathers the scalar measures of all runs.

    Args:
        runs: The page's runs.
        rows: The page's subsets.

    Returns:
        The table; measures nobody measured are left out.
    """
    index = {(row.name, row.label): i for i, row in enumerate(rows)}
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
    measures = tuple(m for m in (*BASIC, *sharp, *COUNTS) if m.key in present)
    middle = radii[len(radii) // 2] if radii else 0.0
    shown = next((k for kind in _KIND_ORDER if (k := f"{kind}@{middle:g}") in present), "")
    return Table(measures, views, shown, frozenset(m.key for m in measures))


def view_names(runs: Sequence[Run]) -> list[str]:
    """Names of all scalar measurements, train before test before the rest."""
    names = {name for run in runs for analysis in ("evaluation", "hessian", "sharpness") for name in run.of(analysis)}
    return sorted(names, key=lambda name: ({"train": 0, "test": 1}.get(name, 2), name))


def _sharpness_measure(kind: str, radius: float) -> Measure:
    title, short, words = _KINDS[kind]
    error = "95 % interval over the draws" if kind == "average" else ""
    return Measure(
        f"{kind}@{radius:g}", f"{title}, ρ = {radius:g}", f"{short} ρ {radius:g}", "signed", "Sharpness", words, error
    )


def _view(name: str, runs: Sequence[Run], index: dict[tuple[str, str], int]) -> View:
    columns, verdicts = [], []
    for run in runs:
        hessian = run.of("hessian").get(name)
        sharpness = run.of("sharpness").get(name)
        evaluation = _evaluation(run, name, hessian or sharpness)
        found: dict[str, Column] = {}
        for measurement, read in ((evaluation, _fit), (hessian, _curvature), (sharpness, _sharpness)):
            if measurement is not None:
                where = np.array([index[key] for key in keys_of(measurement)], dtype=int)
                for key, column in {**_counts(measurement), **read(measurement)}.items():
                    found[key] = _spread(column, where, len(index))
        columns.append(found)
        verdicts.append(_verdicts(hessian, index))
    matched = any("match_loss" in m.config for run in runs if (m := run.of("hessian").get(name)) is not None)
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
        centre = (share + z2 / 2) / (1 + z2)
        half = Z95 / (1 + z2) * np.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return np.where(count > 0, centre - half, np.nan), np.where(count > 0, centre + half, np.nan)


def _curvature(measurement: Measurement) -> dict[str, Column]:
    data, found = measurement.data, dict[str, Column]()
    for key, extreme in (("top", np.fmax), ("bottom", np.fmin)):
        if key in data:
            value, residual = _extreme(data[key], data.get(f"{key}_residual"), extreme)
            found[key] = Column(value, value - residual, value + residual)
    if {"top", "bottom"} <= found.keys():
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.abs(found["bottom"].value) / found["top"].value
        found["ratio"] = Column(np.where(found["top"].value > 0, ratio, np.nan))
    if "trace" in data:
        trace, low, high = data["trace"].astype(float), data.get("trace_low"), data.get("trace_high")
        if low is None or high is None:
            half = Z95 * data.get("trace_se", np.full(len(trace), np.nan)).astype(float)
            low, high = trace - half, trace + half
        found["trace"] = Column(trace, low, high)
    for key, name in (
        ("scaled", "top_scaled"),
        ("gradient", "gradient_norm"),
        ("loss", "loss"),
        ("temperature", "temperature"),
    ):
        if name in data:
            found[key] = Column(data[name].astype(float))
    return found


def _extreme(
    values: np.ndarray, residuals: np.ndarray | None, extreme: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """The most extreme eigenvalue of each row and its residual: (S, k) to (S,) twice."""
    values = values.astype(float).reshape(len(values), -1)
    best = values[:, 0].copy()
    for rank in range(1, values.shape[1]):
        best = extreme(best, values[:, rank])
    residual = np.full(len(values), np.nan)
    if residuals is not None:
        table = residuals.astype(float).reshape(len(values), -1)
        hits = values == best[:, None]
        rows = hits.any(axis=1)
        residual[rows] = table[rows, hits[rows].argmax(axis=1)]
    return best, residual


def _sharpness(measurement: Measurement) -> dict[str, Column]:
    data, found = measurement.data, dict[str, Column]()
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


VERDICTS = ("negative", "none-found", "undecided")


def _verdicts(measurement: Measurement | None, index: dict[tuple[str, str], int]) -> tuple[str, ...]:
    found = [""] * len(index)
    if measurement is not None and "verdict" in measurement.data:
        for key, verdict in zip(keys_of(measurement), measurement.data["verdict"], strict=True):
            text = verdict.decode() if isinstance(verdict, bytes) else str(verdict)
            found[index[key]] = text if text in VERDICTS else ""
    return tuple(found)
