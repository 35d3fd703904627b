"""A checksum over all that a measurement says: HDF5 has some for numbers, none for texts, names and attributes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from foundation.errors import InputError
from landscape.files.contents import LARGE
from landscape.files.safe_read import read, walk

SEAL = "content_sha256"
"""Attribute of a measurement. Whole parameter vectors are left to their own checksums, for they are read one by one."""
_OF_FILE = ("checkpoint_sha256", "provenance")


def seal(group: h5py.Group, key: str, place: str) -> None:
    """Says in a group's attribute what its contents are.

    Args:
        group: A whole measurement in a file that says whose it is.
        key: Its path there, `<analysis>/<name>`.
        place: The file, for sentences.
    """
    data = {path: read(item, place) for path, item in walk(group, place, without=LARGE).items()}
    group.attrs[SEAL] = _digest(group, key, data)


def check_seal(group: h5py.Group, key: str, data: Mapping[str, np.ndarray], place: str) -> None:
    """Refuses a measurement that was changed after it was written; one without a seal is of an earlier version.

    Args:
        group: The measurement.
        key: Its path in the file, `<analysis>/<name>`.
        data: Its data sets and scales as they were read, by path.
        place: The file, for the sentence.

    Raises:
        InputError: It was.
    """
    told = group.attrs.get(SEAL)
    if told is not None and told != _digest(group, key, data):
        raise InputError(
            f"{place} was changed after it was written (its contents are not those of its {SEAL}): take a copy that "
            "was not, or measure again"
        )


def _digest(group: h5py.Group, key: str, data: Mapping[str, np.ndarray]) -> str:
    found = hashlib.sha256()
    about = {name: group.file.attrs.get(name) for name in _OF_FILE}
    for part in (key, about, _said(group), *(piece for path in sorted(data) for piece in _pieces(group, path, data))):
        found.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode())
        found.update(b"\0")
    return found.hexdigest()


def _pieces(group: h5py.Group, path: str, data: Mapping[str, np.ndarray]) -> Iterator[Any]:
    values = data[path]
    yield [path, list(values.shape), values.dtype.str, _said(group[path])]
    yield [str(text) for text in values.ravel()] if values.dtype.kind == "O" else np.ascontiguousarray(values).tobytes()


def _said(item: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """All attributes but the seal, and those by which HDF5 and netCDF bind scales."""
    ours = (name for name in item.attrs if name != SEAL and not name.isupper() and not name.startswith("_"))
    return {name: item.attrs[name] for name in ours}
