"""Loss surfaces and lines for the page: every subset's grid in 16-bit codes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Any

import numpy as np

from landscape.comparison.loss_grids import hidden_share, lines_of, planes_of
from landscape.comparison.packing import bytes_, codes, floats
from landscape.comparison.rows import Key, Row, keys_of, places_of
from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement

STORED = ("loss", "accuracy", "loss_se", "error")


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
        One entry a plane: its `name`, kind of `plane` and `split`, `a`, `b`, `rows`, a packed grid (b by a) a row for
        `loss` and, where stored, `accuracy`, `se` and `error`; the cells' `status`; the `path` of a trajectory; the
        `tolerance` that was asked of interpolation, and the one `kept` by each row.
    """
    index = places_of(rows)
    return [_plane(run, measurement, index, kept, _networks(run, measurement, known)) for measurement in planes_of(run)]


def _identity(run: Run, measurement: Measurement) -> str:
    """The same for two surfaces over the very same points of weight space: one origin, one pair of directions."""
    laid = (measurement.config.get(key) for key in ("plane", "seed", "of", "through", "params"))
    return json.dumps([run.landscape.checkpoint_sha256, *laid])


def _plane(
    run: Run, measurement: Measurement, index: dict[Key, int], kept: frozenset[int], networks: Mapping[str, str]
) -> dict[str, Any]:
    data = measurement.data
    positions = [(p, index[key]) for p, key in enumerate(keys_of(measurement)) if index[key] in kept]
    height, width = data["loss"].shape[1:]
    packed: dict[str, Any] = {
        "name": measurement.name,
        "plane": str(measurement.config.get("plane", "random")),
        "split": str(measurement.config.get("split", "")),
        "identity": _identity(run, measurement),
        "axes": _axes(measurement, networks),
        "a": floats(data.get("a", np.arange(width))),
        "b": floats(data.get("b", np.arange(height))),
        "rows": [row for _, row in positions],
        "loss": [codes(data["loss"][p]) for p, _ in positions],
        "status": bytes_(data["status"]) if "status" in data else None,
        "path": _path(measurement, networks),
    }
    asked = measurement.extent.get("tolerance")
    if asked and "kept_tolerance" in data:
        packed |= {"tolerance": float(asked), "kept": floats(data["kept_tolerance"][[p for p, _ in positions]])}
    for key, name in (("accuracy", "accuracy"), ("se", "loss_se"), ("error", "error")):
        if name in data and (key == "accuracy" or np.any(data[name] > 0)):
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
        One entry a line: `a`, `rows`, packed `loss` and, where stored, `accuracy` and `barrier`, the axis's `title`.
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
        if "barrier" in data:
            line["barrier"] = floats(data["barrier"][[p for p, _ in positions]])
        for key in ("loss", "accuracy"):
            if key in data:
                line[key] = [codes(data[key][p]) for p, _ in positions]
        packed.append(line)
    return packed
