"""What a file or a setting may hold, declared once: types, bounds, and the sentence for what is otherwise.

The models are pydantic's in strict mode: nothing is converted silently, a whole number may stand for a real one.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import AllowInfNan, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from foundation.errors import InputError

T = TypeVar("T")

Finite = Annotated[float, AllowInfNan(False)]
Count = Annotated[int, Field(ge=0, lt=1 << 53)]
Text = Annotated[str, Field(max_length=10_000)]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Seed = Annotated[int, Field(ge=0, lt=1 << 31)]
"""Seeds are multiplied and added to before a generator gets them, which takes 64 bits."""

MOST_JSON = 64 << 20  # bytes: 100,000 epochs of a thousand classes are written in less
DEEPEST = 20  # levels that values of free form may nest


class Declared(BaseModel):
    """A part of a file: its fields, and other keys only where the part says so."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", arbitrary_types_allowed=True)


class Open(Declared):
    """A part of a file that may hold other keys too, which later or earlier versions know."""

    model_config = ConfigDict(extra="allow")


def validated(kind: Any, value: Any, place: str, way_out: str) -> Any:
    """A value as its declaration has it.

    Args:
        kind: A model, or any annotated type.
        value: What a file holds.
        place: The file, for the sentence.
        way_out: What a reader may do about it, for the sentence.

    Returns:
        The typed value.

    Raises:
        InputError: It is not as declared; the sentence names place, field and value, and what was expected.
    """
    if isinstance(value, dict | list) and _depth(value) > DEEPEST:
        raise InputError(f"{place} nests more than {DEEPEST} levels deep: {way_out}")
    try:
        return _adapter(kind).validate_python(value)
    except ValidationError as error:
        lacking = [".".join(map(str, e["loc"])) for e in error.errors(include_url=False) if e["type"] == "missing"]
        if lacking:
            raise InputError(
                f"{place} lacks {', '.join(shown(name)[1:-1] for name in lacking[:5])}: {way_out}"
            ) from None
        where, given, expected = _first(error)
        raise InputError(f"{place} has {where}{shown(given)}, expected is {expected}: {way_out}") from None


def read_json(path: Path, kind: Any, way_out: str) -> Any:
    """What a JSON file holds, as declared.

    Args:
        path: The file.
        kind: See `validated`.
        way_out: See `validated`.

    Returns:
        The typed value.

    Raises:
        InputError: The file cannot be read, is no JSON, or is not as declared.
    """
    try:
        if not path.is_file():
            raise InputError(f"{str(path)!r} is no ordinary file: {way_out}")
        if path.stat().st_size > MOST_JSON:
            raise InputError(f"{str(path)!r} is larger than {MOST_JSON >> 20} MiB: {way_out}")
        value = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error.strerror if isinstance(error, OSError) else error).split())[:200]
        raise InputError(f"{str(path)!r} cannot be read ({reason}): {way_out}") from None
    return validated(kind, value, repr(str(path)), way_out)


def check_fields(given: object) -> None:
    """Refuses a dataclass of settings one of whose fields is not as its annotation says.

    Args:
        given: An instance; a field may be annotated with bounds: `steps: Annotated[int, Field(ge=1)]`.

    Raises:
        InputError: A value is out of range or of another type.
    """
    kind: Any = type(given)
    for name, adapter in _fields(kind).items():
        value = getattr(given, name)
        try:
            adapter.validate_python(value)
        except ValidationError as error:
            _, found, expected = _first(error, deepest=True)  # of a list, the one value that cannot be
            raise InputError(f"--{name.replace('_', '-')} {shown(found)} cannot be: give {expected}") from None


def check_settings(kind: Any, values: Mapping[str, Any], place: str, way_out: str) -> None:
    """Refuses settings from a file that are not as the fields of a dataclass say.

    Args:
        kind: The dataclass.
        values: Some of its fields, and nothing else.
        place: The file.
        way_out: What to do about it.

    Raises:
        InputError: A key is no field, or a value is not as declared.
    """
    known = _fields(kind)
    for name, value in values.items():
        if name not in known:
            raise InputError(f"{place} sets {shown(name)}, which is no setting of this version: {way_out}")
        if isinstance(value, dict | list) and _depth(value) > DEEPEST:
            raise InputError(f"{place} nests {name} more than {DEEPEST} levels deep: {way_out}")
        try:
            known[name].validate_python(value)
        except ValidationError as error:
            where, found, expected = _first(error)
            at = f"{name}.{where}" if where else f"{name} = "
            raise InputError(f"{place} has {at}{shown(found)}, expected is {expected}: {way_out}") from None


def shown(value: Any) -> str:
    """A value in one short line."""
    text = value if isinstance(value, int | float) else repr(value)[:200].encode("ascii", "backslashreplace").decode()
    text = str(text)
    return text if len(text) <= 60 else f"{text[:57]}…"


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    plain = isinstance(kind, type) and issubclass(kind, BaseModel)
    return TypeAdapter(kind) if plain else TypeAdapter(kind, config=Declared.model_config)


@functools.cache
def _fields(kind: Any) -> dict[str, TypeAdapter[Any]]:
    hints = get_type_hints(kind, include_extras=True)
    return {item.name: _adapter(hints[item.name]) for item in fields(kind)}


def _depth(value: Any) -> int:
    """How deep lists and dicts nest, without recursion."""
    depth, layer = 0, [value]
    while layer and depth <= DEEPEST + 1:
        depth += 1
        parts = (part.values() if isinstance(part, dict) else part for part in layer)
        layer = [item for part in parts for item in part if isinstance(item, dict | list | tuple)]
    return depth


def _first(error: ValidationError, *, deepest: bool = False) -> tuple[str, Any, str]:
    """Where the first mistake lies (empty, or ending in ` = `), what is there, and what was expected."""
    errors = error.errors(include_url=False)
    found = max(errors, key=lambda e: len(e["loc"])) if deepest else errors[0]
    where = ".".join(str(part) for part in found["loc"] if not str(part).startswith(("function-", "constrained-")))
    context = found.get("ctx", {})
    expected = {
        "extra_forbidden": "no such field",
        "int_type": "a whole number",
        "float_type": "a number",
        "string_type": "a text",
        "bool_type": "true or false",
        "dict_type": "names with values",
        "list_type": "a list",
        "finite_number": "a finite number",
        "none_required": "nothing",
        "greater_than": f"a number above {context.get('gt')}",
        "greater_than_equal": f"{context.get('ge')} or more",
        "less_than": f"a number below {context.get('lt')}",
        "less_than_equal": f"{context.get('le')} or less",
        "literal_error": f"one of {context.get('expected', '')}".replace("'", ""),
    }.get(found["type"], str(found["msg"]).lower().removeprefix("input should be "))
    return (f"{where} = " if where else ""), found["input"], expected
