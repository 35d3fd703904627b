"""Curvature of every single sample of the smallest classes, along the class's extreme directions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from landscape.comparison.packing import floats
from landscape.comparison.rows import Row, keys_of, places_of
from landscape.comparison.runs import Run

ENDS = ("top", "bottom")


def pack_samples(runs: Sequence[Run], rows: Sequence[Row], view: str, kept: frozenset[int]) -> list[Any]:
    """vᵀ H_i v of every sample i, for subsets so small that they were measured one sample at a time.

    Args:
        runs: The page's runs.
        rows: The page's subsets.
        view: The measurement's name.
        kept: Rows the page has room for.

    Returns:
        One entry a run: by `top` or `bottom`, then by index of the row, the packed finite values.
    """
    index, packed = places_of(rows), []
    for run in runs:
        measurement = run.of("hessian").get(view)
        found: dict[str, dict[int, Any]] = {}
        for end in ENDS:
            values = None if measurement is None else measurement.data.get(f"{end}_samples")
            if measurement is None or values is None:
                continue
            for position, key in enumerate(keys_of(measurement)):
                known = values[position][np.isfinite(values[position])]
                if known.size and index[key] in kept:
                    found.setdefault(end, {})[index[key]] = floats(known)
        packed.append(found)
    return packed
