"""Writes results in HDF5, safe against a kill at any moment.

A measurement in progress lives in its own `*.partial.h5` beside the file, flushed after each unit of work, and is
merged into `landscape.h5` under a lock by copy and rename when it is finished. Every group carries its own
configuration, provenance and dimension scales, so that it opens alone in xarray (`engine="h5netcdf"`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from foundation.errors import InputError
from foundation.files import locked, replacing
from landscape.files.dimension_scales import attach, copy_group, make_scale
from landscape.files.landscape_file import Measurement, open_file, plain, read_landscape, read_measurement
from landscape.files.target import Target
from landscape.schema import SCHEMA, SCHEMA_VERSION
from landscape.subject.subsets import Subset

TABLE = ("subset", "label", "kind", "train_count", "measured_count")


def fingerprint(config: Mapping[str, Any]) -> str:
    """The SHA-256 of a configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def partial_path(file: Path, analysis: str, name: str) -> Path:
    """Where a measurement in progress lives: beside `file`, named after it."""
    return file.with_name(f"{file.stem}.{analysis}.{name}.partial.h5")


class Recording:
    """A measurement being written, made by `recording`.

    Attributes:
        resumed: Some of it was there already: its `status` says what.
        previous: A measurement of the same thing with another extent, to continue from, or None.
        extent: How much of it is asked for.
    """

    def __init__(
        self, group: h5py.Group, *, extent: Mapping[str, Any], resumed: bool, previous: Measurement | None
    ) -> None:
        self._group = group
        self.extent = extent
        self.resumed = resumed
        self.previous = previous
        self.finished = False
        self._started = time.monotonic()
        self._spent = float(group.attrs.get("wall_seconds", 0.0))

    def scale(self, dim: str, values: np.ndarray | Sequence[Any], *, unit: str = "") -> None:
        """Gives the dimension `dim` its coordinates; without this it counts from 0.

        Args:
            dim: The dimension's name, with a path for a nested group.
            values: Its coordinates, (n,).
            unit: Their unit.
        """
        if dim not in self._group:
            make_scale(self._group, dim, np.asarray(values))
            self._group[dim].attrs["units"] = unit

    def create(
        self, name: str, *, dims: Sequence[str], shape: Sequence[int], dtype: str = "f8", fill: float = np.nan,
        unit: str = "", meaning: str = "",
    ) -> None:  # fmt: skip
        """Makes a dataset filled with `fill`, unless a resumed recording has it already.

        Args:
            name: Its path inside the group.
            dims: One name a dimension; `"subset"` is there from the start.
            shape: Its shape.
            dtype: NumPy's type code.
            fill: What an unmeasured value holds; 0 for integers.
            unit: The unit of its values.
            meaning: A few words for a reader of the file.
        """
        if name in self._group:
            return
        fill = 0 if np.dtype(dtype).kind in "iu" and np.isnan(fill) else fill
        dataset = self._group.create_dataset(name, shape=tuple(shape), dtype=dtype, fillvalue=fill)
        dataset.attrs.update({"units": unit, "long_name": meaning})
        attach(dataset, dims)

    def write(self, name: str, index: Any, values: Any) -> None:
        """Sets `name[index]`; `flush` makes it durable."""
        self._group[name][index] = values

    def read(self, name: str) -> np.ndarray:
        """The whole dataset as it stands."""
        return np.asarray(self._group[name][()])

    def note(self, key: str, value: Any) -> None:
        """Says something of the whole measurement; anything but a number or a text is kept as JSON."""
        self._group.attrs[key] = value if isinstance(value, int | float | str) else json.dumps(value)

    def noted(self, key: str) -> Any:
        """What `note` said, or None."""
        return plain(self._group.attrs[key]) if key in self._group.attrs else None

    def flush(self) -> None:
        """Makes all that was written survive SIGKILL. Without it every killed file was unreadable."""
        self._group.attrs["wall_seconds"] = self._spent + time.monotonic() - self._started
        self._group.file.flush()

    def finish(self) -> None:
        """Declares the measurement whole: on leaving the `recording` block it is merged into the file."""
        self.flush()
        self.finished = True


@contextlib.contextmanager
def recording(
    target: Target,
    analysis: str,
    *,
    subsets: Sequence[Subset],
    config: Mapping[str, Any] | None = None,
    extent: Mapping[str, Any] | None = None,
) -> Iterator[Recording | None]:
    """Opens a measurement for writing, resuming an interrupted one of the same configuration and extent.

    Args:
        target: The file it will be merged into, its name there and what is measured.
        analysis: The analysis, the first part of the group's path.
        subsets: What is measured.
        config: What else makes this measurement the thing it is, beside the target's; JSON types.
        extent: How much of it is asked for; JSON types.

    Yields:
        The recording; None when the file holds this measurement already, for these subsets or more.

    Raises:
        InputError: The name is taken by another configuration or holds subsets that would be lost, the file belongs
            to another checkpoint, a partial file cannot be read, or another process is at work on it.
    """
    file, name, checkpoint = target.file, target.name, target.checkpoint_sha256
    config, extent = {**target.config, **(config or {})}, dict(extent or {})
    partial = partial_path(file, analysis, name)
    again = "choose another --name, or give --overwrite to replace it"
    busy = f"another process is measuring {analysis}/{name} of {str(file)!r}: wait for it or choose another --name"
    identity = fingerprint({"config": config, "checkpoint": checkpoint})
    with locked(partial.with_suffix(".lock"), busy):
        previous: Measurement | None = None
        if file.exists():
            landscape = read_landscape(file, unfinished=False)
            if landscape.checkpoint_sha256 != checkpoint:
                raise InputError(f"{str(file)!r} holds measurements of another checkpoint: choose another --out")
            found = landscape.get(analysis, name)
            if found and not target.overwrite:
                if fingerprint(found.config) != fingerprint(config):
                    raise InputError(
                        f"{analysis}/{name} in {str(file)!r} has {_difference(found.config, config)}: {again}"
                    )
                asked = {s.name for s in subsets}
                if found.extent == extent and asked <= set(found.subset):
                    yield None
                    return
                if lost := [name for name in found.subset if name not in asked]:
                    raise InputError(
                        f"{analysis}/{name} in {str(file)!r} also holds {lost[0]} and {len(lost) - 1} other subsets: "
                        "name them too, or choose another --name"
                    )
                previous = found
        resumed = False
        if partial.exists():
            with open_file(partial) as opened:
                kept = opened[f"{analysis}/{name}"]
                if kept.attrs["identity"] != identity and not target.overwrite:
                    theirs = json.loads(kept.attrs["config"])
                    raise InputError(f"{str(partial)!r} is unfinished with {_difference(theirs, config)}: {again}")
                same = kept.attrs["identity"] == identity
                names = [str(n) for n in kept["subset"].asstr()[()]]
                resumed = same and json.loads(kept.attrs["extent"]) == extent and names == [s.name for s in subsets]
                if same and not resumed:
                    previous = previous or read_measurement(kept, analysis, name, complete=False)
        if not resumed:
            # Made whole under a temporary name: a kill while the first datasets are laid out leaves no broken file.
            with replacing(partial) as temporary, h5py.File(temporary, "w") as made:
                _root(made, checkpoint, target.provenance)
                group = made.create_group(f"{analysis}/{name}")
                group.attrs.update(
                    {
                        "analysis": analysis,
                        "config": json.dumps(config),
                        "config_sha256": fingerprint(config),
                        "extent": json.dumps(extent),
                        "identity": identity,
                        "provenance": json.dumps(target.provenance),
                    }
                )
                _write_table(group, subsets)
        with h5py.File(partial, "r+") as handle:
            record = Recording(handle[f"{analysis}/{name}"], extent=extent, resumed=resumed, previous=previous)
            try:
                yield record
            finally:
                record.flush()
        if record.finished:
            _merge(partial, file, f"{analysis}/{name}")
            partial.unlink()


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key):
            return f"{key} {theirs.get(key)!r}, not {ours.get(key)!r}"
    return "been measured on another checkpoint"


def _root(file: h5py.File, checkpoint_sha256: str, provenance: Mapping[str, Any]) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["schema_version"] = SCHEMA_VERSION
    file.attrs["checkpoint_sha256"] = checkpoint_sha256
    file.attrs["provenance"] = json.dumps(provenance)


def _write_table(group: h5py.Group, subsets: Sequence[Subset]) -> None:
    make_scale(group, "subset", np.array([s.name for s in subsets], dtype=object))
    for column in TABLE[1:]:
        values = [getattr(s, column) for s in subsets]
        dtype = h5py.string_dtype() if isinstance(values[0], str) else "i8"
        attach(group.create_dataset(column, data=values, dtype=dtype), ("subset",))


def _merge(partial: Path, file: Path, key: str) -> None:
    busy = f"another process is writing {str(file)!r}"
    with (
        locked(file.with_name(f".{file.name}.lock"), busy, wait=True),
        replacing(file) as temporary,
        h5py.File(partial, "r") as new,
        h5py.File(temporary, "w") as made,
    ):
        if file.exists():
            with open_file(file) as old:
                made.attrs.update(dict(old.attrs))
                for analysis in old:
                    for name in old[analysis]:
                        if f"{analysis}/{name}" != key:
                            copy_group(old[analysis][name], made.create_group(f"{analysis}/{name}"))
        else:
            made.attrs.update(dict(new.attrs))
        copy_group(new[key], made.create_group(key))
