"""What a configuration can name: one kind of entry for parts of methods, networks, data sets and augmentations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from foundation.errors import one_of

T = TypeVar("T")


@dataclass(frozen=True)
class Entry(Generic[T]):
    """One thing with a name.

    Attributes:
        value: What the name stands for: as a rule the function that makes it.
        about: What it is, in a few words.
        paper: Where it comes from, `"-"` where nobody is to be named.
        defaults: The settings that a user can give, with their default values.
    """

    value: T
    about: str
    paper: str
    defaults: Mapping[str, Any] = field(default_factory=dict)


def find(kind: str, name: str, entries: Mapping[str, Entry[T]]) -> T:
    """What a name stands for.

    Args:
        kind: What is named, for the sentence, such as `"data set"`.
        name: The name.
        entries: The registry.

    Returns:
        The entry's value.

    Raises:
        InputError: The name is unknown.
    """
    if name not in entries:
        raise one_of(kind, name, entries)
    return entries[name].value
