"""Samples that are measured as one: everything, the mean of the classes, groups and single classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from foundation.errors import InputError
from foundation.groups import Groups
from landscape.subject.samples import SortedSamples


@dataclass(frozen=True)
class Subset:
    """Samples that are measured as one; its loss is a weighted mean over them.

    Attributes:
        name: `all`, `balanced`, `many`, `medium`, `few` or `class:3`.
        label: What people call it; a class's own name.
        kind: `all`, `balanced`, `group` or `class`.
        classes: The classes it holds, head first.
        train_count: How many samples the network was trained on.
        measured_count: How many samples are measured.
    """

    name: str
    label: str
    kind: str
    classes: tuple[int, ...]
    train_count: int
    measured_count: int


def every_subset(
    samples: SortedSamples, train_counts: Sequence[int], class_names: Sequence[str], groups: Groups
) -> list[Subset]:
    """All, balanced, the groups, and the classes from head to tail, also those that have no sample.

    Args:
        samples: The samples.
        train_counts: Training samples of each class, (C,).
        class_names: A name a class.
        groups: Many, medium and few.

    Returns:
        The subsets.
    """
    rank = {c: place for place, c in enumerate(samples.head_to_tail)}

    def subset(name: str, label: str, kind: str, classes: Sequence[int]) -> Subset:
        ordered = tuple(sorted(classes, key=rank.__getitem__))
        measured = sum(samples.ranges[c].stop - samples.ranges[c].start for c in ordered)
        return Subset(name, label, kind, ordered, sum(train_counts[c] for c in ordered), measured)

    every = range(len(train_counts))
    table = [subset("all", "all", "all", every), subset("balanced", "balanced", "balanced", every)]
    table += [subset(name, name, "group", members) for name, members in groups.named()]
    return table + [subset(f"class:{c}", class_names[c], "class", [c]) for c in samples.head_to_tail]


def choose_subsets(known: Sequence[Subset], names: Sequence[str] | None) -> tuple[Subset, ...]:
    """The named subsets that have samples, in the order they are known in.

    Args:
        known: Every subset.
        names: Such as `["all", "few", "class:3"]`; None for all.

    Returns:
        The subsets.

    Raises:
        InputError: A name is unknown, or none has a sample.
    """
    classes, existing = sum(s.kind == "class" for s in known), {s.name for s in known}
    for name in names or ():
        if name not in existing:
            raise InputError(
                f"unknown subset {name!r}: choose among all, balanced, many, medium, few and class:0 to "
                f"class:{classes - 1}"
            )
    wanted = existing if names is None else set(names)
    chosen = tuple(s for s in known if s.name in wanted and s.measured_count > 0)
    if not chosen:
        raise InputError(f"no sample belongs to {', '.join(names or ())}: choose other subsets or another split")
    return chosen


def find_twins(samples: SortedSamples, subsets: Sequence[Subset]) -> dict[str, Subset]:
    """For each subset that has the very same samples and weights as an earlier one, that one, by name.

    Args:
        samples: The samples.
        subsets: In order; all but `balanced` weigh their samples alike.

    Returns:
        The earlier subsets.
    """
    first: dict[tuple[int, int, bool], Subset] = {}
    twins = {}
    for subset in subsets:
        rows, uneven = samples.rows(subset.classes), False
        if subset.kind == "balanced":
            sizes = {samples.ranges[c].stop - samples.ranges[c].start for c in subset.classes}
            uneven = len(sizes - {0}) > 1
        earlier = first.setdefault((rows.start, rows.stop, uneven), subset)
        if earlier is not subset:
            twins[subset.name] = earlier
    return twins


def left_out(absent: Sequence[str], most: int = 6) -> str:
    """Which subsets have no sample to measure, in words.

    Args:
        absent: Their names.
        most: Names to list.

    Returns:
        A sentence; empty where every subset has samples.
    """
    more = f" and {len(absent) - most} more" if len(absent) > most else ""
    return f"left out, for want of samples here: {', '.join(absent[:most])}{more}" if absent else ""
