"""Training curves of the runs, from the `metrics.jsonl` beside each file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from landscape.comparison.packing import floats
from landscape.comparison.rows import ORDER, Row
from landscape.comparison.runs import Run

SPLITS = ("train", "validation", "test")
MOST_CLASSES = 200
"""Runs with more classes show the curves of their groups only."""


def pack_curves(runs: Sequence[Run], rows: Sequence[Row]) -> list[Any]:
    """Loss and accuracy by epoch.

    Args:
        runs: The page's runs.
        rows: The page's subsets.

    Returns:
        One entry a run, None without a history: by split, then `loss` or `accuracy`, then row: packed `x` and `y`.
    """
    return [_of_run(run, rows) if run.history else None for run in runs]


def _of_run(run: Run, rows: Sequence[Row]) -> Any:
    found: dict[str, dict[str, dict[int, dict[str, Any]]]] = {}
    classes = sum(row.kind == "class" for row in rows)
    for split in SPLITS:
        for quantity in ("loss", "accuracy"):
            for position, row in enumerate(rows):
                if row.kind == "class" and classes > MOST_CLASSES:
                    continue
                points = [
                    (float(entry["epoch"]), value)
                    for entry in run.history
                    if (value := _look_up(entry, split, quantity, row.name)) is not None and "epoch" in entry
                ]
                if points:
                    x, y = zip(*points, strict=True)
                    found.setdefault(split, {}).setdefault(quantity, {})[position] = {"x": floats(x), "y": floats(y)}
    return found or None


def _look_up(entry: dict[str, Any], split: str, quantity: str, name: str) -> float | None:
    table = entry.get(split)
    means = table.get(quantity) if isinstance(table, dict) else None
    if not isinstance(means, dict):
        return None
    value = means.get(name) if name in ORDER else _nth(means.get("classes"), name)
    return float(value) if isinstance(value, int | float) and not math.isnan(value) else None


def _nth(values: Any, name: str) -> Any:
    number = name.rpartition(":")[2]
    if not isinstance(values, list) or not number.isdigit() or int(number) >= len(values):
        return None
    return values[int(number)]
