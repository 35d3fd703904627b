"""What numbers, files and page share: status codes, verdicts, thresholds, and what is said of a result's numbers.

A result is a frozen dataclass whose fields say in their metadata what they are: dimensions, unit and meaning. Data sets
of a file, columns of a table and variables of xarray follow from it, so that a number is added in one place:

    @dataclass(frozen=True)
    class Measured:
        loss: float = field(metadata=quantity("mean evaluation loss", unit=NAT))
        rank: Estimate = field(default=Estimate(), metadata=part("effective_rank", "(Σ|λ|)² / Σλ²", unit=SHARE))

    [q.name for q in quantities(Measured)]  # loss, effective_rank, effective_rank_se
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from math import nan
from typing import Any, TypeVar, get_type_hints

SCHEMA = "landscape"
SCHEMA_VERSION = 2

NUMERICS = 5
"""Raised by hand when the meaning or the value of a result changes by more than rounding: unfinished work of another
number is not continued. Golden values hold it in a test."""

TODO, MEASURED, NON_FINITE, FAILED, INTERPOLATED = range(5)
"""Values of every `status` data set."""

NEGATIVE, NONE_FOUND, UNDECIDED = "negative", "none-found", "undecided"
"""What is said of negative curvature."""
VERDICTS = (NEGATIVE, NONE_FOUND, UNDECIDED)

PYHESSIAN_AGREES = 0.02
"""PyHessian stops when a step changes the eigenvalue by a thousandth; it may be off by ten of these, or a few more."""

WEIGHT_NORM = "weight_norm"
"""Attribute of a measurement: ‖w‖ of the measured parameters, Euclidean."""

LEVEL = 1e-3
"""A slope over temperatures below this share of the loss is none: so near the lowest loss (a thousandth of T) a side of
it means nothing."""

NAT = "nat"
"""The unit of every loss, and of what a loss changes by."""
SHARE = "1"
"""The unit of shares, ratios and counts. Derivatives of a loss have none: they are in nat per unit of the weights."""

T = TypeVar("T")
_KEY = "landscape"
_DTYPES = {float: "f8", int: "i8", bool: "i1", str: "str"}


@dataclass(frozen=True)
class Quantity:
    """A number of a result, or an array of them.

    Attributes:
        name: Of its data set and column.
        path: The attributes that lead to it.
        dims: Names of its dimensions.
        unit: `nat`, `1`, or empty.
        meaning: What it is, in a few words.
        dtype: `f8`, `f4`, `i8`, `i1` or `str`.
        when: The setting that asks for it; empty when it is always measured.
    """

    name: str
    path: tuple[str, ...]
    dims: tuple[str, ...]
    unit: str
    meaning: str
    dtype: str
    when: str

    def of(self, result: object) -> Any:
        """Its value in a result."""
        return functools.reduce(getattr, self.path, result)

    def asked(self, settings: object) -> bool:
        """Whether settings, an object with the attribute `when`, ask for it."""
        return not self.when or bool(getattr(settings, self.when))


def quantity(
    meaning: str, *dims: str, unit: str = "", name: str = "", dtype: str = "", when: str = ""
) -> dict[str, Any]:
    """The metadata of a field that holds a number or an array.

    Args:
        meaning: What it is, in a few words; `{name}` and `{meaning}` stand for those of the part it belongs to.
        *dims: Names of its dimensions.
        unit: Its unit; `{unit}` stands for the part's.
        name: Of its data set, by default the field's; `{name}` stands for the part's.
        dtype: NumPy's type code, by default that of the field's type; arrays are `f8`.
        when: The setting that asks for it.

    Returns:
        `metadata` of a dataclass field.
    """
    return {_KEY: Quantity(name, (), dims, unit, meaning, dtype, when)}


@dataclass(frozen=True)
class _Part:
    name: str
    meaning: str
    unit: str
    dims: Mapping[str, str]
    when: str


def part(name: str = "", meaning: str = "", *, unit: str = "", when: str = "", **dims: str) -> dict[str, Any]:
    """The metadata of a field that holds a dataclass with quantities of its own.

    Args:
        name: What `{name}` stands for inside, by default the field's name.
        meaning: What `{meaning}` stands for inside.
        unit: What `{unit}` stands for inside.
        when: The setting that asks for all of it.
        **dims: Dimensions that have another name here: `rank="rank_bottom"`.

    Returns:
        `metadata` of a dataclass field.
    """
    return {_KEY: _Part(name, meaning, unit, dims, when)}


@dataclass(frozen=True)
class Estimate:
    """A number that was estimated; a part of a result that says what it is.

    Attributes:
        value: The estimate.
        error: Its standard error.
    """

    value: float = field(default=nan, metadata=quantity("{meaning}", unit="{unit}", name="{name}"))
    error: float = field(default=nan, metadata=quantity("its standard error", unit="{unit}", name="{name}_se"))


def quantities(kind: type[Any]) -> tuple[Quantity, ...]:
    """Every quantity of a result's type, those of its parts included, in the order of the fields.

    Args:
        kind: A dataclass.

    Returns:
        The quantities, their paths from an instance of `kind`.
    """
    return tuple(_walk(kind, (), _Part("", "", "", {}, "")))


def assemble(kind: type[T], values: Mapping[str, Any], **others: Any) -> T:
    """A result from its values, as a file gives them back.

    Args:
        kind: Its type.
        values: By quantity name; one that is absent gets the field's default, and a number of another type than the
            field's becomes one of it.
        **others: Fields that are no quantities, by name.

    Returns:
        The result.
    """
    known = {q.path: values[q.name] for q in quantities(kind) if q.name in values}
    made: T = _assemble(kind, known, others)
    return made


def _walk(kind: type[Any], path: tuple[str, ...], outer: _Part) -> Iterator[Quantity]:
    hints = get_type_hints(kind)
    said = {"name": outer.name, "meaning": outer.meaning, "unit": outer.unit}
    for item in fields(kind):
        about = item.metadata.get(_KEY)
        if isinstance(about, _Part):
            when = about.when or outer.when
            inner = _Part(about.name or item.name, about.meaning, about.unit, {**outer.dims, **about.dims}, when)
            yield from _walk(hints[item.name], (*path, item.name), inner)
        elif isinstance(about, Quantity):
            yield Quantity(
                name=(about.name or item.name).format(**said),
                path=(*path, item.name),
                dims=tuple(outer.dims.get(dim, dim) for dim in about.dims),
                unit=about.unit.format(**said),
                meaning=about.meaning.format(**said),
                dtype=about.dtype or _DTYPES.get(hints[item.name], "f8"),
                when=about.when or outer.when,
            )


def _assemble(kind: type[Any], known: Mapping[tuple[str, ...], Any], others: Mapping[str, Any]) -> Any:
    hints, made = get_type_hints(kind), dict(others)
    for item in fields(kind):
        inside = {path[1:]: value for path, value in known.items() if path[0] == item.name}
        if () in inside:
            kind_of = hints[item.name]
            made[item.name] = kind_of(inside[()]) if kind_of in _DTYPES else inside[()]
        elif inside:
            made[item.name] = _assemble(hints[item.name], inside, {})
    return kind(**made)


def side_of(slope: float, loss: float) -> int:
    """On which side of its lowest loss over all temperatures a network stands.

    Args:
        slope: dL/d log T at its temperature.
        loss: L there.

    Returns:
        1 where the loss rises with the temperature, -1 where it falls, 0 at the lowest loss, as far as told.
    """
    return 0 if abs(slope) <= LEVEL * loss else 1 if slope > 0 else -1
