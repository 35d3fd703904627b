"""The runs a page compares: each a landscape file, the name it goes by and its training curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import InputError
from foundation.metrics_line import read_lines
from landscape.files.landscape_file import Landscape, Measurement, read_landscape


@dataclass(frozen=True)
class Run:
    """One landscape file as the page knows it.

    Attributes:
        name: What the page calls it; unique on the page.
        landscape: Everything measured.
        history: Lines of the `metrics.jsonl` beside the file, oldest first; empty when there is none.
        busy: Another process is measuring, so that unfinished measurements could not be read.
        recipe: The training configuration beside the file, without its seed; None when there is none.
        configuration: The same number for runs that differ by their seed alone, counted from 0.
    """

    name: str
    landscape: Landscape
    history: tuple[dict[str, Any], ...]
    busy: bool = False
    recipe: Mapping[str, Any] | None = None
    configuration: int = 0

    @property
    def method(self) -> str:
        """What its method is called: as its recipe says, else the run's own name."""
        return str((self.recipe or {}).get("method", self.name))

    def of(self, analysis: str) -> dict[str, Measurement]:
        """The run's measurements of one analysis by name; a finished one goes before an unfinished one."""
        found: dict[str, Measurement] = {}
        for measurement in self.landscape.measurements:
            if measurement.analysis == analysis:
                found.setdefault(measurement.name, measurement)
        return found


def open_runs(paths: Sequence[Path]) -> tuple[Run, ...]:
    """Reads the files and names the runs: by folder for a `landscape.h5`, else by the file's stem.

    Args:
        paths: Landscape files, or run folders that hold a `landscape.h5`; the reference run first.

    Returns:
        The runs in the given order.

    Raises:
        InputError: No file was given, one was given twice, or one cannot be read.
    """
    if not paths:
        raise InputError("no landscape file was given: name at least one landscape.h5")
    resolved = [_file(Path(path)).resolve() for path in paths]
    for position, path in enumerate(resolved):
        if path in resolved[:position]:
            raise InputError(f"{str(paths[position])!r} was given twice: name each file once")
    names = _names(resolved)
    return _numbered([_open(name, path) for name, path in zip(names, resolved, strict=True)])


_OF_A_SEED = ("seed", "out", "device", "workers", "data_dir")
"""Settings in which runs of one configuration may differ: the seed, and what changes no number."""


def _recipe(path: Path) -> Mapping[str, Any] | None:
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return {key: told[key] for key in told if key not in _OF_A_SEED} if isinstance(told, dict) else None


def _numbered(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Runs with the same recipe and different checkpoints get the same number."""
    kinds: list[Run] = []
    numbered = []
    for run in runs:
        alike = (i for i, kind in enumerate(kinds) if run.recipe is not None and kind.recipe == run.recipe)
        number = next(alike, len(kinds))
        if number == len(kinds):
            kinds.append(run)
        numbered.append(replace(run, configuration=number))
    return tuple(numbered)


def _file(path: Path) -> Path:
    return path / "landscape.h5" if path.is_dir() else path


def _open(name: str, path: Path) -> Run:
    history = tuple(read_lines(path.parent / "metrics.jsonl", "move it away, or train again"))
    recipe, busy = _recipe(path.parent / "config.json"), False
    try:
        landscape = read_landscape(path)
    except InputError:  # one of the unfinished measurements beside it is being written: the finished ones still count
        landscape, busy = read_landscape(path, unfinished=False), True
    met = (known for m in landscape.measurements if (known := _matched(m)) is not None)
    return Run(name, replace(landscape, measurements=tuple(met)), history, busy=busy, recipe=recipe)


def _matched(measurement: Measurement) -> Measurement | None:
    """A measurement at another run's losses without subsets that no temperature brought there; None without any."""
    if "match_loss" not in measurement.config or "temperature" not in measurement.data:
        return measurement
    kept = np.flatnonzero(np.isfinite(measurement.data["temperature"]))
    if not len(kept):
        return None
    data = {
        key: values[kept] if measurement.dims.get(key, ())[:1] == ("subset",) else values
        for key, values in measurement.data.items()
    }
    subset, label, kind = (
        tuple(texts[i] for i in kept) for texts in (measurement.subset, measurement.label, measurement.kind)
    )
    trained, measured = measurement.train_count[kept], measurement.measured_count[kept]
    return replace(
        measurement, data=data, subset=subset, label=label, kind=kind, train_count=trained, measured_count=measured
    )


def _names(paths: Sequence[Path]) -> list[str]:
    """The shortest tail of each path that tells it from the others."""
    parts = [_parts(path) for path in paths]
    names = []
    for mine in parts:
        depth = next(
            (n for n in range(1, len(mine) + 1) if sum(other[-n:] == mine[-n:] for other in parts) == 1), len(mine)
        )
        names.append("/".join(mine[-depth:]))
    return names


def _parts(path: Path) -> tuple[str, ...]:
    parts = [part for part in path.with_suffix("").parts if part != path.anchor]
    if path.stem == "landscape" and len(parts) > 1:
        parts.pop()
    return tuple(parts)
