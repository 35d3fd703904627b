"""Reads a `landscape.h5`: one a checkpoint, one group a measurement, and the unfinished measurements beside it."""

from __future__ import annotations

import contextlib
import glob
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from foundation.errors import InputError
from landscape.files.contents import LARGE
from landscape.files.unit_folder import Head, UnitFolder, partial_path
from landscape.schema import SCHEMA, SCHEMA_VERSION


@dataclass(frozen=True)
class Measurement:
    """One finished or unfinished measurement, read into memory.

    Attributes:
        analysis: `"evaluation"`, `"hessian"`, `"sharpness"` or `"surface"`.
        name: The measurement's name, by default its split.
        complete: False for one that was interrupted; its `status` says what is there.
        config: What was measured: split, loss, parameters, BN mode, dtype, seed.
        extent: How much of it was asked for: eigenvalues, points, radii.
        provenance: Code, libraries, device and command that wrote it.
        attributes: Everything else said of the whole measurement, such as wall time and counts of products.
        subset: Names of the S measured subsets: `all`, `balanced`, `many`, `medium`, `few`, `class:0`, ….
        label: What people call them; a class's own name.
        kind: `all`, `balanced`, `group` or `class`.
        train_count: Training samples of each subset, (S,).
        measured_count: Samples of each subset that were measured, (S,).
        data: Every dataset by its path inside the group, as arrays.
        dims: The names of each dataset's dimensions.
    """

    analysis: str
    name: str
    complete: bool
    config: Mapping[str, Any]
    extent: Mapping[str, Any]
    provenance: Mapping[str, Any]
    attributes: Mapping[str, Any]
    subset: tuple[str, ...]
    label: tuple[str, ...]
    kind: tuple[str, ...]
    train_count: np.ndarray
    measured_count: np.ndarray
    data: Mapping[str, np.ndarray]
    dims: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Landscape:
    """Everything a `landscape.h5` holds, without large directions and eigenvectors (see `read_array`).

    Attributes:
        path: The file.
        checkpoint_sha256: Of the checkpoint that was measured.
        provenance: Of the process that made the file.
        measurements: Finished ones first, then the unfinished ones found beside the file.
    """

    path: Path
    checkpoint_sha256: str
    provenance: Mapping[str, Any]
    measurements: tuple[Measurement, ...]

    def get(self, analysis: str, name: str) -> Measurement | None:
        """The measurement of that analysis and name, or None; a finished one is preferred."""
        found = (m for m in self.measurements if (m.analysis, m.name) == (analysis, name))
        return next(found, None)


def read_landscape(path: Path, *, unfinished: bool = True) -> Landscape:
    """Reads a result file.

    Args:
        path: A `landscape.h5`.
        unfinished: Also read the interrupted measurements beside it.

    Returns:
        Its contents.

    Raises:
        InputError: The file is missing, no HDF5, no landscape file or of a later schema.
    """
    path = Path(path)
    beside = f"{glob.escape(path.stem)}.*.partial"
    folders = [UnitFolder(p) for p in sorted(path.parent.glob(beside))] if unfinished else []
    begun = [(folder, heads[-1]) for folder in folders if (heads := folder.heads())]
    begun = [(f, head) for f, head in begun if f.path == partial_path(path, head.analysis, head.name)]  # not another's
    old = sorted(path.parent.glob(f"{beside}.h5")) if unfinished else []
    if not path.exists() and not begun and not old:
        raise InputError(f"{str(path)!r} does not exist: measure a checkpoint first (python -m landscape.hessian)")
    measurements: list[Measurement] = []
    root: tuple[str, Mapping[str, Any]] | None = None
    for source in [*([path] if path.exists() else []), *old]:
        with open_file(source) as file:
            root = root or (file.attrs["checkpoint_sha256"], json.loads(file.attrs["provenance"]))
            if file.attrs["checkpoint_sha256"] != root[0]:
                continue  # left behind by an earlier checkpoint of the same folder
            for analysis in file:
                for name in file[analysis]:
                    group = file[analysis][name]
                    measurements.append(read_measurement(group, analysis, name, complete=source == path))
    for folder, head in begun:
        root = root or (head.checkpoint_sha256, head.provenance)
        if head.checkpoint_sha256 == root[0]:
            measurements.append(read_unfinished(folder, head))
    assert root is not None
    return Landscape(path, root[0], root[1], tuple(measurements))


def read_array(path: Path, key: str) -> np.ndarray:
    """One dataset by its full path, for the large ones that `read_landscape` leaves out.

    Args:
        path: A `landscape.h5`.
        key: Such as `"hessian/train/vectors/top"`.

    Returns:
        The array.

    Raises:
        InputError: The file or the dataset is not there.
    """
    if not path.exists():
        raise InputError(f"{str(path)!r} does not exist: measure a checkpoint first (python -m landscape.hessian)")
    with open_file(path) as file:
        if key not in file:
            raise InputError(f"{str(path)!r} has no {key!r}: measure it first")
        return np.asarray(file[key][()])


def open_file(path: Path) -> h5py.File:
    """Opens a landscape file for reading.

    Args:
        path: A `landscape.h5` or an unfinished measurement.

    Returns:
        The open file.

    Raises:
        InputError: It is no HDF5, no landscape file, of a later schema or being written.
    """
    try:
        file = h5py.File(path, "r")
    except BlockingIOError:
        raise InputError(f"{str(path)!r} is being written by another process: wait for it") from None
    except OSError:
        raise InputError(f"{str(path)!r} is damaged or no HDF5 file: delete it and measure again") from None
    if file.attrs.get("schema") != SCHEMA:
        file.close()
        raise InputError(f"{str(path)!r} is no landscape file: give a landscape.h5 made by this package")
    if file.attrs["schema_version"] > SCHEMA_VERSION:
        version = file.attrs["schema_version"]
        file.close()
        raise InputError(f"{str(path)!r} has schema version {version}: update this package to read it")
    return file


def read_measurement(group: h5py.Group, analysis: str, name: str, *, complete: bool) -> Measurement:
    """One measurement's group without its large vectors."""
    data: dict[str, np.ndarray] = {}
    dims: dict[str, tuple[str, ...]] = {}

    def visit(path: str, item: h5py.Dataset | h5py.Group) -> None:
        if isinstance(item, h5py.Dataset) and path.split("/")[0] not in LARGE:
            data[path] = np.asarray(item.asstr()[()] if h5py.check_string_dtype(item.dtype) else item[()])
            dims[path] = tuple(json.loads(item.attrs.get("dims", "[]")))

    group.visititems(visit)
    attributes = {key: plain(value) for key, value in group.attrs.items()}
    config, extent, provenance = (attributes.pop(key) for key in ("config", "extent", "provenance"))
    texts = {key: tuple(str(text) for text in data.pop(key)) for key in ("subset", "label", "kind")}
    return Measurement(
        analysis=analysis,
        name=name,
        complete=complete,
        config=config,
        extent=extent,
        provenance=provenance,
        attributes=attributes,
        **texts,
        train_count=data.pop("train_count"),
        measured_count=data.pop("measured_count"),
        data=data,
        dims={key: value for key, value in dims.items() if key in data},
    )


def read_unfinished(folder: UnitFolder, head: Head) -> Measurement:
    """A measurement as far as its finished units go, without its large vectors.

    Args:
        folder: Of the units.
        head: Which of the folder's measurements.

    Returns:
        The measurement.

    Raises:
        InputError: A unit is damaged.
    """
    with h5py.File(f"{folder.path.name}.h5", "w", driver="core", backing_store=False) as memory:
        group = memory.create_group(head.analysis).create_group(head.name)
        folder.contents(head).build(group, head.attributes, large=False)
        return read_measurement(group, head.analysis, head.name, complete=False)


def plain(value: Any) -> Any:
    """An attribute as a Python value: JSON objects and lists are parsed."""
    if isinstance(value, str):
        with contextlib.suppress(json.JSONDecodeError):
            return json.loads(value) if value[:1] in "[{" else value
        return value
    return value.item() if isinstance(value, np.generic) else value
