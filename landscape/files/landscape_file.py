"""Reads a `landscape.h5`: one a checkpoint, one group a measurement, and the unfinished measurements beside it."""

from __future__ import annotations

import contextlib
import glob
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from foundation.declared import shown
from foundation.errors import InputError
from landscape.files.contents import LARGE
from landscape.files.measurement_model import WAY_OUT, check_attributes, check_dataset, check_root, check_values
from landscape.files.safe_read import SEAL, attributes_of, check_seal, dims_of, items, naming, read, said_of, walk
from landscape.files.unit_folder import Head, UnitFolder, partial_path


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
    for last in (False, False, True):
        with contextlib.suppress(FileNotFoundError):  # a folder went while it was read: the file holds it now
            return _read_landscape(path, unfinished=unfinished and not last)
    raise InputError(f"{str(path)!r} is gone: it was there a moment ago")


def _read_landscape(path: Path, *, unfinished: bool) -> Landscape:
    beside = f"{glob.escape(path.stem)}.*.partial"
    folders = [UnitFolder(p) for p in sorted(path.parent.glob(beside))] if unfinished else []
    begun = [(folder, heads[-1]) for folder in folders if (heads := folder.heads())]
    begun = [(f, head) for f, head in begun if f.path == partial_path(path, head.analysis, head.name)]  # not another's
    old = sorted(path.parent.glob(f"{beside}.h5")) if unfinished else []
    if not path.exists() and not begun and not old:
        raise InputError(f"{str(path)!r} does not exist: measure a checkpoint first (python -m landscape.hessian)")
    # Before the file: what is finished meanwhile is in the file then, and its folder is gone.
    known = [(folder, head, read_unfinished(folder, head)) for folder, head in begun]
    measurements: list[Measurement] = []
    root: tuple[str, Mapping[str, Any]] | None = None
    for source in [*([path] if path.exists() else []), *old]:
        place = repr(str(source))
        with open_file(source) as file, naming(place):
            said = attributes_of(file, place)
            root = root or (said["checkpoint_sha256"], said["provenance"])
            if said["checkpoint_sha256"] != root[0]:
                continue  # left behind by an earlier checkpoint of the same folder
            for analysis, name, group in groups_of(file, place):
                measurements.append(read_measurement(group, analysis, name, complete=source == path, place=place))
    for folder, head, measurement in known:
        if not folder.path.exists():
            raise FileNotFoundError(folder.path)
        root = root or (head.checkpoint_sha256, head.provenance)
        if head.checkpoint_sha256 == root[0]:
            measurements.append(measurement)
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
    place = repr(str(path))
    with open_file(path) as file, naming(place):
        analysis, name, inside = [*key.split("/", 2), "", ""][:3]
        group = next((g for *at, g in groups_of(file, place) if at == [analysis, name]), None)
        found = {} if group is None else walk(group, place)
        if inside not in found:
            raise InputError(f"{place} has no {key!r}: measure it first")
        return read(found[inside], place)


def large_arrays(path: Path, key: str) -> Iterator[np.ndarray]:
    """The whole parameter vectors of a measurement, which `read_landscape` leaves out, one data set after the other.

    Args:
        path: A `landscape.h5`.
        key: Of the measurement, such as `"hessian/train"`.

    Yields:
        Each array.

    Raises:
        InputError: One is damaged.
    """
    place = repr(str(path))
    with open_file(path) as file, naming(place):
        for name, item in walk(file[key], place).items():
            if name.split("/")[0] in LARGE:
                yield read(item, place)


def open_file(path: Path) -> h5py.File:
    """Opens a landscape file for reading.

    Args:
        path: A `landscape.h5` or an unfinished measurement.

    Returns:
        The open file.

    Raises:
        InputError: It is no HDF5, no landscape file, of a later schema or being written.
    """
    place = repr(str(path))
    if not path.is_file():
        raise InputError(f"{place} is no ordinary file: give a landscape.h5 made by this package")
    try:
        file = h5py.File(path, "r")
    except BlockingIOError:
        raise InputError(f"{place} is being written by another process: wait for it") from None
    except PermissionError:
        raise InputError(f"{place} may not be read: ask its owner") from None
    except OSError:
        raise InputError(f"{place} is damaged or no HDF5 file: {WAY_OUT}") from None
    try:
        with naming(place):
            check_root(attributes_of(file, place), place)
    except BaseException:
        file.close()
        raise
    return file


def groups_of(file: h5py.File, place: str) -> Iterator[tuple[str, str, h5py.Group]]:
    """Every measurement's analysis, name and group; of a later version's analyses too.

    Args:
        file: The open file.
        place: The file, for the sentence.

    Yields:
        Analysis, name, group.

    Raises:
        InputError: Something else lies where groups should be, or a link to elsewhere.
    """
    for analysis, inner in items(file, place).items():
        if not isinstance(inner, h5py.Group):
            raise InputError(f"{place} has a data set as {shown(analysis)}, expected is a group: {WAY_OUT}")
        for name, group in items(inner, place).items():
            if not isinstance(group, h5py.Group):
                raise InputError(f"{place} has a data set as {shown(group.name)}, expected is a group: {WAY_OUT}")
            yield analysis, name, group


def read_measurement(group: h5py.Group, analysis: str, name: str, *, complete: bool, place: str) -> Measurement:
    """One measurement's group without its large vectors.

    Args:
        group: The group.
        analysis: Its analysis.
        name: Its name.
        complete: Whether it is finished.
        place: The file, for sentences.

    Returns:
        The measurement.

    Raises:
        InputError: Something in it is not as its model declares.
    """
    place = f"{place} in {analysis}/{name}"
    attributes = attributes_of(group, place)
    check_attributes(attributes, place)
    data: dict[str, np.ndarray] = {}
    dims: dict[str, tuple[str, ...]] = {}
    found = walk(group, place, without=LARGE)
    said = {path: said_of(item) for path, item in found.items()}
    for path, item in found.items():
        dims[path] = dims_of(path, found, said[path].get("dims", "[]"), place)
        data[path] = read(item, place)
        check_dataset(analysis, path, dims[path], str if data[path].dtype.kind == "O" else data[path].dtype, place)
    check_values(data, dims, place)
    if attributes.pop(SEAL, None) is not None:
        check_seal(group, f"{analysis}/{name}", data, said, place)
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
        return read_measurement(group, head.analysis, head.name, complete=False, place=repr(str(folder.path)))
