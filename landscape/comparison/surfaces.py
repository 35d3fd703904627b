"""Loss surfaces for the page: every subset's grid in 16-bit codes, within a budget of bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np

from landscape.comparison.densities import POINTS
from landscape.comparison.packing import bytes_, codes, floats
from landscape.comparison.rows import Key, Row, keys_of, places_of
from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement
from landscape.report.payload.matrices import ALONG
from landscape.schema import FAILED, INTERPOLATED, NON_FINITE, TODO

BUDGET = 12_000_000
"""Bytes of base64 all surfaces, densities and matrices may take: with plotly.js (4.8 MB) a page stays below 20 MB."""
_STORED = ("loss", "accuracy", "loss_se")
EXTREMES = 20
"""How many of the sharpest and of the flattest classes stay when not all fit."""


@dataclass(frozen=True)
class Cells:
    """How the cells of one surface came to be.

    Attributes:
        total: Cells of the grid.
        todo: Not measured yet.
        non_finite: Measured, and not a finite number.
        failed: Could not be measured.
        interpolated: Filled in between measured ones.
        error: Largest stated error of an interpolated cell over all subsets; NaN when none is stated.
    """

    total: int
    todo: int
    non_finite: int
    failed: int
    interpolated: int
    error: float


def cells_of(measurement: Measurement) -> Cells:
    """Counts the cells of a surface by status."""
    status = measurement.data.get("status", np.empty(0))
    error = measurement.data.get("error")
    inside = error[..., status == INTERPOLATED] if error is not None and error.shape[-2:] == status.shape else None
    known = inside[np.isfinite(inside)] if inside is not None else np.empty(0)
    todo, bad, failed, filled = (
        int(np.count_nonzero(status == code)) for code in (TODO, NON_FINITE, FAILED, INTERPOLATED)
    )
    return Cells(int(status.size), todo, bad, failed, filled, float(known.max()) if known.size else float("nan"))


def hidden_share(measurement: Measurement) -> np.ndarray | None:
    """The share of the distance to each point of a trajectory that the plane does not show, or None."""
    for key, values in measurement.data.items():
        if key.startswith("trajectory/") and "share" in key:
            return np.asarray(values, dtype=float)
    return None


def planes_of(run: Run) -> list[Measurement]:
    """The run's two-dimensional surfaces, in name order with the split's own first."""
    planes = [m for m in run.of("surface").values() if "loss" in m.data and not _is_line(m)]
    return sorted(planes, key=lambda m: ({"train": 0, "test": 1}.get(m.name, 2), m.name))


def lines_of(run: Run) -> list[Measurement]:
    """The run's one-dimensional surfaces: lines, such as those between two checkpoints."""
    return [m for m in run.of("surface").values() if "loss" in m.data and _is_line(m)]


def _is_line(measurement: Measurement) -> bool:
    """Whether the surface has one row of cells: `loss` is (S, 1, A), or (S, A)."""
    loss = measurement.data["loss"]
    return loss.ndim == 2 or loss.shape[1] == 1


def choose_rows(runs: Sequence[Run], rows: Sequence[Row], sharpness: np.ndarray) -> frozenset[int]:
    """Which rows get curves and surfaces: all when they fit, else the groups and the extremes.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        sharpness: What the extremes are extremes of, one a row; NaN where unknown.

    Returns:
        Indices of rows.
    """
    everything = frozenset(range(len(rows)))
    cells = sum(
        m.data[key].size for run in runs for m in (*planes_of(run), *lines_of(run)) for key in _STORED if key in m.data
    )
    hessians = [m for run in runs for m in run.of("hessian").values()]
    densities = sum(POINTS * len(m.subset) for m in hessians for key in ("density", "density_se") if key in m.data)
    matrices = sum(2 * m.data[key].size for m in hessians for key in ALONG if key in m.data)  # twice the bytes a number
    if (cells + densities + matrices) * 8 // 3 <= BUDGET:
        return everything
    classes = [i for i, row in enumerate(rows) if row.kind == "class"]
    order = sorted(classes, key=lambda i: (np.isnan(sharpness[i]), -sharpness[i], i))
    known = [i for i in order if np.isfinite(sharpness[i])] or order
    return everything - set(classes) | set(known[:EXTREMES]) | set(known[-EXTREMES:])


def pack_surfaces(
    run: Run, rows: Sequence[Row], kept: frozenset[int], known: Mapping[str, str]
) -> list[dict[str, Any]]:
    """A run's planes as JSON.

    Args:
        run: The run.
        rows: The page's subsets.
        kept: Rows whose surfaces the page has room for.
        known: Names of the page's runs by their checkpoint's SHA-256.

    Returns:
        One entry a plane: `a`, `b`, `rows`, a packed grid (b by a) a row for `loss` and, where stored, `accuracy` and
        `se`; the cells' `status`; the `path` of a trajectory.
    """
    index = places_of(rows)
    return [_plane(measurement, index, kept, _networks(run, measurement, known)) for measurement in planes_of(run)]


def _plane(
    measurement: Measurement, index: dict[Key, int], kept: frozenset[int], networks: Mapping[str, str]
) -> dict[str, Any]:
    data = measurement.data
    positions = [(p, index[key]) for p, key in enumerate(keys_of(measurement)) if index[key] in kept]
    height, width = data["loss"].shape[1:]
    packed: dict[str, Any] = {
        "name": measurement.name,
        "plane": str(measurement.config.get("plane", "random")),
        "axes": _axes(measurement, networks),
        "a": floats(data.get("a", np.arange(width))),
        "b": floats(data.get("b", np.arange(height))),
        "rows": [row for _, row in positions],
        "loss": [codes(data["loss"][p]) for p, _ in positions],
        "status": bytes_(data["status"]) if "status" in data else None,
        "path": _path(measurement, networks),
    }
    for key, name in (("accuracy", "accuracy"), ("se", "loss_se")):
        if name in data and (key != "se" or np.any(data[name] > 0)):
            packed[key] = [codes(data[name][p]) for p, _ in positions]
    return packed


def _networks(run: Run, measurement: Measurement, known: Mapping[str, str]) -> dict[str, str]:
    """What to call the networks a plane was laid through: the page's name of a run, else the end of the file's path."""
    points = [str(name) for name in measurement.data.get("trajectory/point", ())]
    through = [str(sha256) for sha256 in measurement.config.get("through") or ()]
    names = {point: _short(point) for point in points}
    if through and len(points) == len(through) + 1:
        names[points[0]] = run.name
        names |= {p: known[sha256] for p, sha256 in zip(points[1:], through, strict=True) if sha256 in known}
    return names


def _short(point: str) -> str:
    path = PurePath(point)
    if path.suffix != ".pt":
        return point
    return path.parent.name if path.stem == "checkpoint" and path.parent.name else path.stem


def _axes(measurement: Measurement, networks: Mapping[str, str]) -> list[str]:
    """What the axes are, in the words of the plane that was cut through."""
    axes = measurement.attributes.get("axes", [])
    words = [str(axis) for axis in axes] if isinstance(axes, list) else []
    for point, name in networks.items():
        words = [axis.replace(point, name) for axis in words]
    return words


def _path(measurement: Measurement, networks: Mapping[str, str]) -> dict[str, Any] | None:
    data = measurement.data
    coordinates = data.get("trajectory/coordinates")
    if coordinates is None or np.ndim(coordinates) != 2 or len(coordinates) == 0:
        return None
    hidden = hidden_share(measurement)
    return {
        "a": floats(coordinates[:, 0]),
        "b": floats(coordinates[:, 1] if coordinates.shape[1] > 1 else np.zeros(len(coordinates))),
        "names": list(networks.values()) or [str(i + 1) for i in range(len(coordinates))],
        "hidden": None if hidden is None else floats(np.broadcast_to(hidden, (len(coordinates),))),
    }


def pack_lines(run: Run, rows: Sequence[Row], kept: frozenset[int], known: Mapping[str, str]) -> list[dict[str, Any]]:
    """A run's lines as JSON: like planes, with one coordinate.

    Args:
        run: The run.
        rows: The page's subsets.
        kept: Rows the page has room for.
        known: Names of the page's runs by their checkpoint's SHA-256.

    Returns:
        One entry a line: `a`, `rows`, packed `loss` and, where stored, `accuracy`, the axis's `title`.
    """
    index = places_of(rows)
    packed = []
    for measurement in lines_of(run):
        data, networks = measurement.data, _networks(run, measurement, known)
        positions = [(p, index[key]) for p, key in enumerate(keys_of(measurement)) if index[key] in kept]
        line: dict[str, Any] = {
            "name": measurement.name,
            "title": str((_axes(measurement, networks) or ["position along the line"])[0]),
            "batchNorm": str(measurement.config.get("batch_norm", "eval")),
            "a": floats(data.get("a", np.arange(data["loss"].shape[-1]))),
            "rows": [row for _, row in positions],
            "path": _path(measurement, networks),
        }
        for key in ("loss", "accuracy"):
            if key in data:
                line[key] = [codes(data[key][p]) for p, _ in positions]
        packed.append(line)
    return packed
