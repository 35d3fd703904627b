"""A finished measurement into the result file: a new file takes the old one's place only after it was read back."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from foundation.errors import InputError, LandscapeError
from foundation.files import locked, replacing
from landscape.files.contents import Contents
from landscape.files.dimension_scales import copy_group
from landscape.files.landscape_file import groups_of, open_file
from landscape.files.safe_read import seal
from landscape.schema import SCHEMA_VERSION

IN_MEMORY = 1 << 30
"""Results up to so many bytes are built in memory: where a write fails HDF5 itself crashes, plain writes do not."""


def publish(file: Path, key: str, contents: Contents, attributes: Mapping[str, Any], root: Mapping[str, Any]) -> None:
    """Puts a measurement into a result file, beside what is there.

    The new file is made beside the old one, flushed to disk, opened again and compared, group by group, with what was
    measured and with the old file; only then it is renamed.

    Args:
        file: The `landscape.h5`, which need not exist.
        key: The group's path.
        contents: What the group holds.
        attributes: Said of the group.
        root: Said of the file, where it does not exist.

    Raises:
        InputError: The file is damaged.
        LandscapeError: It cannot be written; the old file is as it was.
    """
    busy = f"another process is writing {str(file)!r}"
    try:
        with locked(file.with_name(f".{file.name}.lock"), busy, wait=True), replacing(file) as temporary:
            _write(temporary, file, key, contents, attributes, root)
            _compare(temporary, file, key, contents)
    except OSError as error:
        raise LandscapeError(
            f"{str(file)!r} cannot be written ({error.strerror or error}): it is as it was, and what was measured is "
            "kept beside it; free some space, then the same command continues"
        ) from None


def _write(
    temporary: Path, file: Path, key: str, contents: Contents, attributes: Mapping[str, Any], root: Mapping[str, Any]
) -> None:
    needed = contents.size() + (file.stat().st_size if file.exists() else 0)
    if needed > IN_MEMORY:
        if shutil.disk_usage(temporary.parent).free < needed * 1.1:
            raise OSError(28, f"{needed / 2**30:.1f} GiB are needed")
        with h5py.File(temporary, "w") as made:
            _fill(made, file, key, contents, attributes, root)
        return
    with h5py.File(f"{key}.h5", "w", driver="core", backing_store=False) as made:
        _fill(made, file, key, contents, attributes, root)
        made.flush()
        image = made.id.get_file_image()
    with temporary.open("wb") as written:
        written.write(image)
        written.flush()
        os.fsync(written.fileno())


def _fill(
    made: h5py.File, file: Path, key: str, contents: Contents, attributes: Mapping[str, Any], root: Mapping[str, Any]
) -> None:
    made.attrs.update(root)
    if file.exists():
        with open_file(file) as old:
            made.attrs.update({**old.attrs, "schema_version": SCHEMA_VERSION})
            for analysis, name, group in groups_of(old, repr(str(file))):
                if f"{analysis}/{name}" != key:
                    try:
                        copy_group(group, made.create_group(f"{analysis}/{name}"))
                    except (OSError, KeyError, ValueError, TypeError, RuntimeError):
                        raise InputError(
                            f"{analysis}/{name} in {str(file)!r} is damaged: move the file away, then the same command "
                            "makes one"
                        ) from None
    group = made.create_group(key)
    contents.build(group, attributes)
    seal(group, key, repr(str(file)))


def _compare(temporary: Path, file: Path, key: str, contents: Contents) -> None:
    """Reads the new file back."""
    with open_file(temporary) as made:
        wrong = [name for name, d in contents.datasets.items() if not _equal(_values(made[key][name]), d.values)]
        if file.exists():
            with open_file(file) as old:
                others = {f"{a}/{n}": group for a, n, group in groups_of(old, repr(str(file))) if f"{a}/{n}" != key}
                wrong += [name for name, group in others.items() if not _same(group, made[name])]
    if wrong:
        raise OSError(5, f"{wrong[0]} reads back otherwise")


def _same(one: h5py.Group, two: h5py.Group) -> bool:
    """Whether two groups hold the same datasets and attributes; those of scales are references."""
    if one.keys() != two.keys() or one.attrs.keys() != two.attrs.keys():
        return False
    if any(not np.array_equal(value, two.attrs[name]) for name, value in one.attrs.items()):
        return False
    pairs = [(item, two[name]) for name, item in one.items()]
    return all(_same(a, b) if isinstance(a, h5py.Group) else _equal(_values(a), _values(b)) for a, b in pairs)


def _values(dataset: h5py.Dataset) -> np.ndarray:
    text = h5py.check_string_dtype(dataset.dtype)
    try:
        return np.asarray(dataset.asstr()[()] if text is not None and text.length is None else dataset[()])
    except OSError:  # its checksum
        raise OSError(5, f"{dataset.name} reads back otherwise") from None


def _equal(one: np.ndarray, two: np.ndarray) -> bool:
    if one.shape != two.shape or one.dtype != two.dtype:
        return False
    return bool((one == two).all()) if one.dtype.kind == "O" else one.tobytes() == two.tobytes()
