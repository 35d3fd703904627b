"""The rows of the page: every subset that any run measured, groups first, then classes from head to tail."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from foundation.errors import InputError
from foundation.groups import NAMES, group_classes
from landscape.comparison.formatting import listing
from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement

ORDER = ("all", "balanced", *NAMES)


@dataclass(frozen=True)
class Row:
    """One subset of the page.

    Attributes:
        name: Its name in the files, such as `class:3`.
        label: Its own name, as the files give it.
        title: What the page calls it; unique on the page and never empty.
        kind: `all`, `balanced`, `group` or `class`.
        train_count: Training samples in the first run that has it.
        group: The group a class belongs to, empty for the others.
    """

    name: str
    label: str
    title: str
    kind: str
    train_count: int
    group: str


Key = tuple[str, str]
"""Name and label: the same class number under two names is two rows, for it is two classes."""


def keys_of(measurement: Measurement) -> list[Key]:
    """The rows' keys of a measurement's subsets, in its order."""
    return list(zip(measurement.subset, measurement.label, strict=True))


def places_of(rows: Sequence[Row]) -> dict[Key, int]:
    """Where each key's row stands on the page."""
    return {(row.name, row.label): i for i, row in enumerate(rows)}


def rows_of(runs: Sequence[Run]) -> tuple[Row, ...]:
    """The union of all runs' subsets.

    Args:
        runs: The page's runs; the first one that has a subset says its count.

    Returns:
        `all`, `balanced`, `many`, `medium`, `few`, then classes by falling training count.
    """
    kinds: dict[Key, str] = {}
    counts: dict[Key, int] = {}
    for run in runs:
        for measurement in run.landscape.measurements:
            for key, kind, count in zip(keys_of(measurement), measurement.kind, measurement.train_count, strict=True):
                kinds.setdefault(key, kind)
                counts.setdefault(key, int(count))
    classes = [key for key, kind in kinds.items() if kind == "class"]
    classes.sort(key=lambda key: (-counts[key], _number(key[0]), key[1]))
    others = [key for key, kind in kinds.items() if kind != "class"]
    others.sort(key=lambda key: (ORDER.index(key[0]) if key[0] in ORDER else len(ORDER), key))
    groups = _groups(runs, classes, [counts[key] for key in classes])
    titles = _titles([*others, *classes], kinds)
    named = [*((key, "") for key in others), *zip(classes, groups, strict=True)]
    return tuple(Row(key[0], key[1], titles[key], kinds[key], counts[key], group) for key, group in named)


def find_row(rows: Sequence[Row], wanted: str) -> Row:
    """The subset that somebody named.

    Args:
        rows: The subsets.
        wanted: Its name in the files, such as `class:3`, or its own name, whatever the case: `Shirt`.

    Returns:
        The subset.

    Raises:
        InputError: No subset, or more than one, is called that.
    """
    same = [row for row in rows if row.name == wanted] or [
        row for row in rows if wanted.casefold() in (row.title.casefold(), row.label.casefold())
    ]
    if len(same) > 1:
        raise InputError(f"{wanted!r} names {len(same)} subsets: say {' or '.join(row.name for row in same[:3])}")
    if not same:
        known = {row.name for row in rows} | {row.title for row in rows}
        near = "".join(f" (did you mean {name}?)" for name in get_close_matches(wanted, sorted(known), n=1))
        raise InputError(f"no file has the subset {wanted!r}{near}: it holds {listing([row.title for row in rows], 8)}")
    return same[0]


def _number(name: str) -> int:
    tail = name.rpartition(":")[2]
    return int(tail) if tail.isdigit() else 0


def _groups(runs: Sequence[Run], classes: Sequence[Key], counts: Sequence[int]) -> list[str]:
    """Each class's group: as the files recorded it, else by the rule, which needs all classes to be right."""
    recorded = (m.config.get("groups") for run in runs for m in run.landscape.measurements)
    members = next((groups for groups in recorded if isinstance(groups, dict)), None)
    if members is not None:
        known = {int(number): name for name in NAMES for number in members.get(name, ())}
        return [known.get(_number(key[0]), "") for key in classes]
    names = [""] * len(counts)
    for name, places in group_classes(counts).named() if counts else ():
        for place in places:
            names[place] = name
    return names


def _titles(keys: Sequence[Key], kinds: dict[Key, str]) -> dict[Key, str]:
    plain = {}
    for name, label in keys:
        shown = " ".join(label.split())
        if not shown or shown == name:
            shown = name.replace(":", " ")
        plain[name, label] = shown
    uses = Counter(plain.values())
    titles: dict[str, Key] = {}
    for key, shown in plain.items():
        title = shown if uses[shown] == 1 else f"{shown} ({key[0].replace(':', ' ')})"
        while title in titles:
            title += " ′"
        titles[title] = key
    return {key: title for title, key in titles.items()}
