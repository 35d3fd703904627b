"""The runs a page compares: each a landscape file, the name it goes by and its training curves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
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
        seed: Of its training, as the configuration beside the file says; None where none does.
        group: What the runs of its configuration are called together; empty where its recipe says enough.
    """

    name: str
    landscape: Landscape
    history: tuple[dict[str, Any], ...]
    busy: bool = False
    recipe: Mapping[str, Any] | None = None
    configuration: int = 0
    seed: int | None = None
    group: str = ""

    @property
    def method(self) -> str:
        """What its method is called: as it was grouped, else as its recipe says, else the run's own name."""
        return self.group or str((self.recipe or {}).get("method", self.name))

    def of(self, analysis: str) -> dict[str, Measurement]:
        """The run's measurements of one analysis by name; a finished one goes before an unfinished one."""
        found: dict[str, Measurement] = {}
        for measurement in self.landscape.measurements:
            if measurement.analysis == analysis:
                found.setdefault(measurement.name, measurement)
        return found


def open_runs(paths: Sequence[Path], groups: Mapping[str, str] | None = None) -> tuple[Run, ...]:
    """Reads the files and names the runs: by folder for a `landscape.h5`, else by the file's stem.

    Args:
        paths: Landscape files, or run folders that hold a `landscape.h5`; the reference run first.
        groups: Runs that are seeds of one method, by the method's name: a pattern of run names, such as `bgp-*`. The
            others are grouped by their training configuration.

    Returns:
        The runs in the given order.

    Raises:
        InputError: No file was given, one was given twice, one cannot be read, or a pattern fits no run or one that
            another fits too.
    """
    if not paths:
        raise InputError("no landscape file was given: name at least one landscape.h5")
    resolved = [_file(Path(path)).resolve() for path in paths]
    for position, path in enumerate(resolved):
        if path in resolved[:position]:
            raise InputError(f"{str(paths[position])!r} was given twice: name each file once")
    names = _names(resolved)
    opened = [_open(name, path) for name, path in zip(names, resolved, strict=True)]
    return _numbered(_grouped(opened, groups or {}))


_OF_A_SEED = ("seed", "out", "device", "workers", "data_dir")
"""Settings in which runs of one configuration may differ: the seed, and what changes no number."""


def _recipe(path: Path) -> tuple[Mapping[str, Any] | None, int | None]:
    """The training configuration without its seed, and the seed."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None, None
    if not isinstance(told, dict):
        return None, None
    seed = told.get("seed")
    return {key: told[key] for key in told if key not in _OF_A_SEED}, seed if isinstance(seed, int) else None


def _grouped(runs: Sequence[Run], groups: Mapping[str, str]) -> list[Run]:
    """Runs with the name of the group that a pattern puts them in."""
    found = {run.name: [group for group, pattern in groups.items() if fnmatchcase(run.name, pattern)] for run in runs}
    for group, pattern in groups.items():
        if not any(group in of for of in found.values()):
            raise InputError(f"--group {group}={pattern} fits no run: they are {', '.join(found)}")
    for name, of in found.items():
        if len(of) > 1:
            raise InputError(f"--group puts {name!r} into {' and '.join(of)}: let each run fit one pattern")
    return [replace(run, group=(found[run.name] or [""])[0]) for run in runs]


def _numbered(runs: Sequence[Run]) -> tuple[Run, ...]:
    """Runs of one group, or with the same recipe, get the same number; methods of one name are told apart."""
    kinds: list[Run] = []
    numbers = []
    for run in runs:
        number = next((i for i, kind in enumerate(kinds) if _alike(run, kind)), len(kinds))
        if number == len(kinds):
            kinds.append(run)
        numbers.append(number)
    names = [_method_name(kind, kinds) for kind in kinds]
    return tuple(
        replace(run, configuration=number, group=names[number]) for run, number in zip(runs, numbers, strict=True)
    )


def _alike(run: Run, other: Run) -> bool:
    if run.group or other.group:
        return run.group == other.group
    return run.recipe is not None and run.recipe == other.recipe


def _method_name(kind: Run, kinds: Sequence[Run]) -> str:
    """A method's name, with the settings in which it differs from another of the same name: `ce (lr 0.2)`."""
    ours, same = kind.recipe or {}, [other for other in kinds if other is not kind and other.method == kind.method]
    if kind.group or kind.recipe is None or not same:
        return kind.group
    others = [other.recipe or {} for other in same]
    differ = [key for key in ours if any(other.get(key) != ours[key] for other in others)]
    return f"{kind.method} ({', '.join(f'{key} {ours[key]}' for key in differ[:2])})" if differ else kind.name


def _file(path: Path) -> Path:
    return path / "landscape.h5" if path.is_dir() else path


def _open(name: str, path: Path) -> Run:
    history = tuple(read_lines(path.parent / "metrics.jsonl", "move it away, or train again"))
    (recipe, seed), busy = _recipe(path.parent / "config.json"), False
    try:
        landscape = read_landscape(path)
    except InputError:  # one of the unfinished measurements beside it is being written: the finished ones still count
        landscape, busy = read_landscape(path, unfinished=False), True
    met = (known for m in landscape.measurements if (known := _matched(m)) is not None)
    return Run(name, replace(landscape, measurements=tuple(met)), history, busy=busy, recipe=recipe, seed=seed)


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
