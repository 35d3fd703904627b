"""HDF5 groups whose datasets name their dimensions, so that each group opens alone in xarray."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import h5py
import numpy as np

_SCALE_ATTRIBUTES = {"CLASS", "NAME", "DIMENSION_LIST", "REFERENCE_LIST", "DIMENSION_LABELS"}
_COMPRESS_ABOVE = 1 << 16  # bytes; below it the chunk index costs more than gzip saves


def make_scale(group: h5py.Group, dim: str, values: np.ndarray) -> None:
    """Makes the dimension scale `dim` (a path for a nested group) with its coordinates, (n,)."""
    dtype = h5py.string_dtype() if values.dtype.kind in "OU" else values.dtype
    dataset = group.create_dataset(dim, data=values, dtype=dtype, **packing(values.shape, np.dtype(dtype)))
    dataset.attrs["dims"] = json.dumps([dim.rsplit("/", 1)[-1]])
    dataset.make_scale(dim.rsplit("/", 1)[-1])


def attach(dataset: h5py.Dataset, dims: Sequence[str]) -> None:
    """Names a dataset's dimensions; a dimension without a scale gets one that counts from 0."""
    dataset.attrs["dims"] = json.dumps(list(dims))
    beside = dataset.parent
    for axis, dim in enumerate(dims):
        if dim not in beside:
            make_scale(beside, dim, np.arange(dataset.shape[axis]))
        dataset.dims[axis].attach_scale(beside[dim])


def packing(shape: Sequence[int], dtype: np.dtype[Any]) -> dict[str, Any]:
    """How a dataset of numbers is stored: with Fletcher-32 checksums, large ones compressed; texts as they are.

    A checksum needs chunks, which neither a single number nor an empty array has; of texts only references would be
    summed up.
    """
    size = math.prod(shape) * dtype.itemsize
    if dtype.kind == "O" or size == 0 or not len(shape):
        return {}
    packed = {"compression": "gzip", "shuffle": True} if size > _COMPRESS_ABOVE else {"chunks": tuple(shape)}
    return {"fletcher32": True, **packed}


def copy_group(source: h5py.Group, target: h5py.Group) -> None:
    """Copies a group dataset by dataset: `H5Ocopy` sets the references of dimension scales to zero."""
    later: list[tuple[h5py.Dataset, list[str]]] = []
    for key, item in source.items():
        if isinstance(item, h5py.Group):
            copy_group(item, target.create_group(key))
            continue
        made = target.create_dataset(
            key, data=item[()], dtype=item.dtype, fillvalue=item.fillvalue, **packing(item.shape, item.dtype)
        )
        made.attrs.update({k: v for k, v in item.attrs.items() if k not in _SCALE_ATTRIBUTES})
        if item.is_scale:
            made.make_scale(key)
        else:
            later.append((made, json.loads(item.attrs["dims"])))
    target.attrs.update(dict(source.attrs))
    for made, dims in later:
        attach(made, dims)
