"""Results as xarray and pandas know them, by what their fields say of themselves (`landscape.schema`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from landscape.schema import Quantity, quantities

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr


def unknown() -> NDArray[np.float64]:
    """The array of what nobody measured, for a field's `default_factory`: empty."""
    return np.empty(0)


def to_xarray(
    results: object, coordinates: Mapping[str, Any], attributes: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """A labeled data set of every quantity.

    Args:
        results: One result, whose arrays span all subsets; or a sequence, one result a subset, whose arrays may differ
            in length: shorter ones end in NaN.
        coordinates: Of dimensions, among them `subset`, (n,) each; further ones as a dimension and its values. A
            dimension that is not named counts from 0.
        attributes: What is said of the whole.

    Returns:
        The data set; quantities that nobody measured (empty in every result) are left out.
    """
    import xarray as xr

    variables = {
        q.name: (dims, values, {"units": q.unit, "long_name": q.meaning})
        for q, dims, values in _arrays(results)
        if values.size
    }
    sizes = {dim: n for dims, values, _ in variables.values() for dim, n in zip(dims, values.shape, strict=True)}
    along = {dim: np.asarray(coordinates[dim]) if dim in coordinates else np.arange(n) for dim, n in sizes.items()}
    beside = {name: values for name, values in coordinates.items() if isinstance(values, tuple) and values[0] in sizes}
    said = {key: int(value) if isinstance(value, bool) else value for key, value in (attributes or {}).items()}
    return xr.Dataset(variables, coords=along | beside, attrs=said)  # NetCDF has no truth values


def to_frame(data: xr.Dataset, rows: Sequence[str] = ("subset",), spread: Sequence[str] = ()) -> pd.DataFrame:
    """A table of a data set.

    Args:
        data: What `to_xarray` returned.
        rows: Dimensions whose combinations make the rows.
        spread: Dimensions whose every entry makes a column of its own, such as `top[0]`; quantities of any other
            dimension are left out.

    Returns:
        The table, indexed by `rows`.
    """
    import xarray as xr

    columns = {}
    for name, values in data.data_vars.items():
        beside = [dim for dim in values.dims if dim not in rows]
        if not beside:
            columns[str(name)] = values
        elif len(beside) == 1 and beside[0] in spread:
            for entry in values[beside[0]].values:
                columns[f"{name}[{entry}]"] = values.sel({beside[0]: entry}, drop=True)
    table = xr.Dataset(columns)
    return table.to_dataframe(dim_order=[dim for dim in rows if dim in table.dims])


def _arrays(results: object) -> list[tuple[Quantity, tuple[str, ...], np.ndarray]]:
    """Every quantity with its dimensions and values."""
    if not isinstance(results, Sequence):
        return [(q, q.dims, _array(q.of(results))) for q in quantities(type(results))]
    return [
        (q, ("subset", *q.dims), _stacked([_array(q.of(result)) for result in results]))
        for q in quantities(type(results[0]))
    ]


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if hasattr(value, "detach") else value)


def _stacked(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Arrays of one dimension count on top of each other, NaN where one is shorter."""
    shape = tuple(np.max([array.shape for array in arrays], axis=0).astype(int))
    if all(array.shape == shape for array in arrays):
        return np.stack(arrays)
    whole = np.full((len(arrays), *shape), np.nan)
    for row, array in enumerate(arrays):
        whole[row][tuple(slice(0, n) for n in array.shape)] = array
    return whole
