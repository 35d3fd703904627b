"""One measurement in memory: its datasets and what is said of them, and how it becomes an HDF5 group."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np

from landscape.files.dimension_scales import attach, make_scale, packing

TABLE = ("subset", "label", "kind", "train_count", "measured_count")
"""What is said of every measured subset."""

LARGE = ("vectors", "directions")
"""Nested groups that hold whole parameter vectors; read one at a time by `read_array`."""


@dataclass
class Dataset:
    """An array of a measurement.

    Attributes:
        values: The array; texts are Python strings.
        dims: Names of its dimensions.
        unit: The unit of its values.
        meaning: A few words for a reader of the file.
        fill: What an unmeasured value holds; None for texts.
    """

    values: np.ndarray
    dims: tuple[str, ...]
    unit: str
    meaning: str
    fill: float | None


class Contents:
    """Datasets, scales and notes of one measurement.

    Args:
        table: What is said of every subset, by column: see `TABLE`.

    Attributes:
        table: As given.
        datasets: By their paths inside the group.
        scales: Coordinates of dimensions with their unit, by path.
        notes: What is said of the whole measurement.
        seconds: Spent on it, by all processes together.
    """

    def __init__(self, table: Mapping[str, Sequence[Any]]) -> None:
        self.table = table
        self.datasets: dict[str, Dataset] = {}
        self.scales: dict[str, tuple[np.ndarray, str]] = {}
        self.notes: dict[str, Any] = {}
        self.seconds = 0.0

    def scale(self, dim: str, values: np.ndarray, unit: str) -> None:
        """Gives a dimension its coordinates, unless it has some."""
        self.scales.setdefault(dim, (values, unit))

    def create(
        self, name: str, dims: Sequence[str], shape: Sequence[int], dtype: str, fill: float, unit: str, meaning: str
    ) -> None:
        """Makes a dataset, unless it is there; its type is NumPy's type code, or `str`."""
        if name in self.datasets:
            return
        if dtype == "str":
            values, filled = np.full(tuple(shape), "", dtype=object), None
        elif np.dtype(dtype).kind == "S":
            values, filled = np.zeros(tuple(shape), dtype=dtype), None
        else:
            filled = 0 if np.dtype(dtype).kind in "iu" and np.isnan(fill) else fill
            values = np.full(tuple(shape), filled, dtype=dtype)
        self.datasets[name] = Dataset(values, tuple(dims), unit, meaning, filled)

    def write(self, name: str, index: Any, values: np.ndarray) -> None:
        """Sets part of a dataset."""
        text = values.dtype.kind in "OU" and values.ndim == 0
        self.datasets[name].values[index] = str(values.item()) if text else values

    def note(self, key: str, value: str) -> None:
        """Says something of the whole measurement, in JSON."""
        self.notes[key] = json.loads(value)

    def size(self) -> int:
        """Bytes of all arrays."""
        return sum(dataset.values.nbytes for dataset in self.datasets.values())

    def build(self, group: h5py.Group, attributes: Mapping[str, Any], *, large: bool = True) -> None:
        """Lays everything out in an empty group, which then opens alone in xarray.

        Args:
            group: The group.
            attributes: Said of the whole measurement, beside the notes; all but numbers and texts are kept as JSON.
            large: Also whole parameter vectors.
        """
        said = {**attributes, **self.notes, "wall_seconds": self.seconds}
        group.attrs.update({k: v if isinstance(v, int | float | str) else json.dumps(v) for k, v in said.items()})
        make_scale(group, "subset", np.array(self.table["subset"], dtype=object))
        for column in TABLE[1:]:
            values = self.table[column]
            dtype = np.dtype(h5py.string_dtype() if isinstance(values[0], str) else "i8")
            made = group.create_dataset(column, data=values, dtype=dtype, **packing((len(values),), dtype))
            attach(made, ("subset",))
        for dim, (coordinates, unit) in self.scales.items():
            make_scale(group, dim, coordinates)
            group[dim].attrs["units"] = unit
        for name, dataset in self.datasets.items():
            if not large and name.split("/")[0] in LARGE:
                continue
            text = dataset.values.dtype.kind == "O"
            made = group.create_dataset(
                name, data=dataset.values, dtype=h5py.string_dtype() if text else dataset.values.dtype,
                fillvalue=dataset.fill, **packing(dataset.values.shape, dataset.values.dtype),
            )  # fmt: skip
            made.attrs.update({"units": dataset.unit, "long_name": dataset.meaning})
            attach(made, dataset.dims)
