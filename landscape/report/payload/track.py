"""What a tracker measured along the runs' training: in the page's files, or in a `track.h5` beside one."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from foundation.errors import InputError
from landscape.comparison.packing import floats
from landscape.comparison.rows import Row, places_of
from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement, read_landscape

QUANTITIES = ("top", "loss", "cosine", "sam")


def pack_tracks(runs: Sequence[Run], rows: Sequence[Row]) -> list[Any]:
    """Tracked quantities by epoch, or by step where some point has no epoch.

    Args:
        runs: The page's runs.
        rows: The page's subsets.

    Returns:
        One entry a run, None without a track: `by` epoch or step, `x`, `due` points, `radius`, and by quantity, then by
        index of the row, the packed values; the cosine is that with the gradient of all samples.
    """
    return [None if (found := _measurement(run)) is None else _packed(found, rows) for run in runs]


def _measurement(run: Run) -> Measurement | None:
    beside = run.landscape.path.with_name("track.h5")
    inside = next(iter(run.of("track").values()), None)
    if inside is None and beside.is_file():
        with contextlib.suppress(InputError):  # a damaged one beside the file that was asked for
            inside = next((m for m in read_landscape(beside).measurements if m.analysis == "track"), None)
    return inside if inside is not None and len(inside.data["step"]) else None


def _packed(track: Measurement, rows: Sequence[Row]) -> dict[str, Any]:
    index, names = places_of(rows), list(track.subset)
    epochs = bool(np.isfinite(track.data["epoch"]).all())
    every = names.index("all") if "all" in names else None
    found: dict[str, dict[int, Any]] = {}
    for quantity in QUANTITIES:
        if quantity == "cosine" and every is None:
            continue
        values = track.data[quantity][:, every] if quantity == "cosine" else track.data[quantity]
        for place, key in enumerate(zip(names, track.label, strict=True)):
            if key in index and np.isfinite(values[:, place]).any():
                found.setdefault(quantity, {})[index[key]] = floats(values[:, place])
    return {
        "by": "epoch" if epochs else "step",
        "x": floats(track.data["epoch" if epochs else "step"]),
        "due": len(track.data["step"]) + int(track.attributes.get("left_out", 0)),
        "radius": float(track.extent.get("radius", np.nan)),
        "values": found,
    }
