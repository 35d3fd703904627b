"""Reads HDF5 that others made: no link is followed, no size, filter or change after the writing is believed.

HDF5 has checksums for numbers, none for texts, names and attributes: a seal is one over all that a measurement says.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from typing import Any

import h5py
import numpy as np

from foundation.declared import DEEPEST, shown
from foundation.errors import InputError, LandscapeError
from landscape.files.contents import LARGE
from landscape.files.measurement_model import WAY_OUT

MOST_ITEMS = 2000  # groups and data sets of a measurement
MOST_BYTES = 2 << 30  # of one data set in memory
MOST_TEXT = 64 << 20
_FILTERS = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
_BEST_RATIO = 1100  # deflate cannot do better
_SLACK = 1 << 20  # bytes that need not be there: chunks that were never written
SEAL = "content_sha256"
"""Attribute of a measurement. Whole parameter vectors are left to their own checksums, for they are read one by one."""
_OF_FILE = ("checkpoint_sha256", "provenance")


_HDF5_ERRORS = (OSError, RuntimeError, KeyError, ValueError, TypeError, AttributeError, OverflowError, IndexError,
                MemoryError, RecursionError)  # fmt: skip
"""What h5py raises of damaged files."""


@contextlib.contextmanager
def naming(place: str) -> Iterator[None]:
    """Whatever HDF5 says of a damaged file is said in one sentence.

    Args:
        place: The file, for the sentence.

    Yields:
        Nothing.

    Raises:
        InputError: It could not be read.
    """
    try:
        yield
    except LandscapeError:
        raise
    except _HDF5_ERRORS as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{place} is damaged or no HDF5 file ({reason}): {WAY_OUT}") from None


def items(group: h5py.Group, place: str) -> dict[str, h5py.Group | h5py.Dataset]:
    """What a group holds itself.

    Args:
        group: The group.
        place: The file, for the sentence.

    Returns:
        Groups and data sets by name.

    Raises:
        InputError: It holds too much, or a link to elsewhere.
    """
    if len(group) > MOST_ITEMS:
        raise InputError(f"{place} holds {len(group)} items in {group.name}: {WAY_OUT}")
    found = {}
    for name in group:
        if group.id.links.get_info(name.encode()).type != h5py.h5l.TYPE_HARD:
            raise InputError(f"{place} has a link to elsewhere as {shown(name)} in {group.name}: {WAY_OUT}")
        item = group[name]
        if not isinstance(item, h5py.Group | h5py.Dataset):
            raise InputError(f"{place} has something else than a data set as {shown(name)} in {group.name}: {WAY_OUT}")
        found[name] = item
    return found


def walk(group: h5py.Group, place: str, *, without: tuple[str, ...] = ()) -> dict[str, h5py.Dataset]:
    """Every data set below a group by its path, without some nested groups.

    Args:
        group: The group.
        place: The file, for the sentence.
        without: Names of nested groups to leave out.

    Returns:
        The data sets.

    Raises:
        InputError: It holds too much, nests too deep, or links to elsewhere.
    """
    found: dict[str, h5py.Dataset] = {}

    def visit(here: h5py.Group, at: tuple[str, ...]) -> None:
        if len(at) > DEEPEST or len(found) > MOST_ITEMS:
            raise InputError(f"{place} holds too much in {here.name[:60]}: {WAY_OUT}")
        for name, item in items(here, place).items():
            if isinstance(item, h5py.Dataset):
                found["/".join((*at, name))] = item
            elif at or name not in without:
                visit(item, (*at, name))

    visit(group, ())
    return found


def read(dataset: h5py.Dataset, place: str) -> np.ndarray:
    """A data set's values, texts as Python strings.

    Args:
        dataset: The data set.
        place: The file, for the sentence.

    Returns:
        The array.

    Raises:
        InputError: Its bytes are damaged, it is of a kind that no measurement has, or larger than its bytes allow.
    """
    dtype, shape = dataset.dtype, dataset.shape
    text = h5py.check_string_dtype(dtype)

    def refuse(what: str) -> InputError:
        return InputError(f"{place} has {what.format(dataset.name)}: {WAY_OUT}")

    if shape is None or (text is None and dtype.kind not in "fiub"):
        raise refuse(f"{{}} of kind {shown(str(dtype))}, expected are numbers or texts")
    properties = dataset.id.get_create_plist()
    if properties.get_external_count() or properties.get_layout() == h5py.h5d.VIRTUAL:
        raise refuse("{} stored in another file")
    if not {properties.get_filter(k)[0] for k in range(properties.get_nfilters())} <= _FILTERS:
        raise refuse("{} packed by a filter that this package does not use")
    size, stored = math.prod(shape) * dtype.itemsize, dataset.id.get_storage_size()
    if size > (MOST_TEXT if text else MOST_BYTES) or size > max(stored * _BEST_RATIO, _SLACK):
        raise refuse(f"{{}} of {size:.3g} bytes, of which {stored} are there")
    try:
        if text is None:
            return np.asarray(dataset[()])
        values = dataset.asstr()[()] if text.length is None else np.char.decode(dataset[()], "utf-8")
        return np.asarray(values, dtype=object)
    except (*_HDF5_ERRORS, UnicodeError):
        raise refuse("damaged bytes in {}") from None


def said_of(item: h5py.Group | h5py.Dataset) -> dict[str, Any]:
    """All attributes but the seal, and those by which HDF5 and netCDF bind scales.

    Args:
        item: A group or data set.

    Returns:
        The values as HDF5 gives them, by name.
    """
    ours = (name for name in item.attrs if name != SEAL and not name.isupper() and not name.startswith("_"))
    return {name: item.attrs[name] for name in ours}


def dims_of(path: str, found: Mapping[str, h5py.Dataset], told: Any, place: str) -> tuple[str, ...]:
    """The names of a data set's dimensions, each of which has a scale of its length beside it.

    Args:
        path: Of the data set.
        found: It and all data sets beside it, by path.
        told: What it says of its dimensions, the attribute `dims`.
        place: The file, for the sentence.

    Returns:
        The names.

    Raises:
        InputError: Names and shape do not agree with the scales.
    """
    shape, names, folder = found[path].shape, plain(told, place), path.rpartition("/")[0]
    if shape is None:
        raise InputError(f"{place} has {path} without values: {WAY_OUT}")
    if not (isinstance(names, list) and all(isinstance(dim, str) for dim in names) and len(names) == len(shape)):
        raise InputError(f"{place} has {path} of shape {shape} over {shown(names)}: {WAY_OUT}")
    for dim, length in zip(names, shape, strict=True):
        scale = found.get(f"{folder}/{dim}" if folder else dim)
        if scale is None or scale.shape != (length,) or not scale.is_scale:
            expected = "no scale" if scale is None else scale.shape
            raise InputError(
                f"{place} has {path} of length {length} along {shown(dim)}, which has {expected}: {WAY_OUT}"
            )
    return tuple(names)


def attributes_of(item: h5py.Group | h5py.File, place: str) -> dict[str, Any]:
    """The attributes of a group as Python values; JSON objects and lists are parsed.

    Args:
        item: The group.
        place: The file, for the sentence.

    Returns:
        The values by name.

    Raises:
        InputError: One is no number and no text.
    """
    if len(item.attrs) > MOST_ITEMS:
        raise InputError(f"{place} has {len(item.attrs)} attributes in {item.name}: {WAY_OUT}")
    return {name: plain(item.attrs[name], f"{place} ({shown(name)})") for name in item.attrs}


def plain(value: Any, place: str) -> Any:
    """An attribute as a Python value: a number, a text, or what a text says in JSON."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        if value[:1] not in ("[", "{"):
            return value
        try:
            return json.loads(value)
        except json.JSONDecodeError:
            return value
        except RecursionError:
            raise InputError(f"{place} nests too deep: {WAY_OUT}") from None
    if isinstance(value, int | float):
        return value
    raise InputError(f"{place} is {shown(str(type(value).__name__))}, expected is a number or a text: {WAY_OUT}")


def seal(group: h5py.Group, key: str, place: str) -> None:
    """Says in a group's attribute what its contents are.

    Args:
        group: A whole measurement in a file that says whose it is.
        key: Its path there, `<analysis>/<name>`.
        place: The file, for sentences.
    """
    found = walk(group, place, without=LARGE)
    data = {path: read(item, place) for path, item in found.items()}
    group.attrs[SEAL] = _digest(group, key, data, {path: said_of(item) for path, item in found.items()})


def check_seal(
    group: h5py.Group, key: str, data: Mapping[str, np.ndarray], said: Mapping[str, Mapping[str, Any]], place: str
) -> None:
    """Refuses a measurement that was changed after it was written; one without a seal is of an earlier version.

    Args:
        group: The measurement.
        key: Its path in the file, `<analysis>/<name>`.
        data: Its data sets and scales as they were read, by path.
        said: Their attributes, by path: see `said_of`.
        place: The file, for the sentence.

    Raises:
        InputError: It was.
    """
    told = group.attrs.get(SEAL)
    if told is not None and told != _digest(group, key, data, said):
        raise InputError(
            f"{place} was changed after it was written (its contents are not those of its {SEAL}): take a copy that "
            "was not, or measure again"
        )


def _digest(group: h5py.Group, key: str, data: Mapping[str, np.ndarray], said: Mapping[str, Mapping[str, Any]]) -> str:
    found = hashlib.sha256()
    about = {name: group.file.attrs.get(name) for name in _OF_FILE}
    pieces = (piece for path in sorted(data) for piece in _pieces(path, data[path], said[path]))
    for part in (key, about, said_of(group), *pieces):
        found.update(part if isinstance(part, bytes) else json.dumps(part, sort_keys=True, default=str).encode())
        found.update(b"\0")
    return found.hexdigest()


def _pieces(path: str, values: np.ndarray, said: Mapping[str, Any]) -> Iterator[Any]:
    yield [path, list(values.shape), values.dtype.str, said]
    yield [str(text) for text in values.ravel()] if values.dtype.kind == "O" else np.ascontiguousarray(values).tobytes()
