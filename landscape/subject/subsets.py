"""Samples that are measured as one: everything, the mean of the classes, groups, single classes, or those of a mask.

Every subset is a union of strata: of classes, or of the parts into which masks cut the data.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor

from foundation.errors import InputError
from foundation.groups import EVEN, Groups
from landscape.subject.samples import SortedSamples


@dataclass(frozen=True)
class Subset:
    """Samples that are measured as one; its loss is a weighted mean over them.

    Attributes:
        name: `all`, `balanced`, `many`, `medium`, `few`, `class:3` or a mask's name.
        label: What people call it; a class's own name.
        kind: `all`, `balanced`, `group`, `class`, or `subset` of a mask.
        classes: The strata it holds, which are classes, head first, unless masks make the subsets.
        train_count: How many samples the network was trained on; of a mask, how many it has.
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
    if groups.rule != EVEN:
        table += [subset(name, name, "group", members) for name, members in groups.named()]
    return table + [subset(f"class:{c}", class_names[c], "class", [c]) for c in samples.head_to_tail]


def masked_subsets(masks: Mapping[str, Any], total: int) -> tuple[Tensor, list[Subset]]:
    """The strata into which masks cut the data, and everything and each mask as subsets of them.

    Args:
        masks: By name which samples belong: booleans, (N,), or their indices.
        total: Samples, N.

    Returns:
        The stratum of each sample, (N,) int64, and the subsets; also of masks that no sample belongs to.

    Raises:
        InputError: A mask has another size.
    """
    named = {"all": torch.ones(total, dtype=torch.bool)}
    named |= {name: _as_mask(name, mask, total) for name, mask in masks.items()}
    table = torch.stack(list(named.values()))
    patterns, strata = torch.unique(table.T, dim=0, return_inverse=True)
    counts = torch.bincount(strata, minlength=len(patterns))
    known = []
    for name, inside in zip(named, patterns.T, strict=True):
        members, count = tuple(torch.nonzero(inside)[:, 0].tolist()), int(counts[inside].sum())
        known.append(Subset(name, name, "all" if name == "all" else "subset", members, count, count))
    return strata, known


def _as_mask(name: str, mask: Any, total: int) -> Tensor:
    values = torch.as_tensor(mask).cpu()
    values = values if values.numel() else values.long()
    if values.dtype == torch.bool and values.shape == (total,):
        return values
    indices = values.dim() == 1 and not values.is_floating_point() and values.dtype != torch.bool
    if indices and (not len(values) or (int(values.min()) >= 0 and int(values.max()) < total)):
        return torch.zeros(total, dtype=torch.bool).index_fill_(0, values.long(), True)
    raise InputError(
        f"subset {name!r} has a mask {tuple(values.shape)} of {str(values.dtype).removeprefix('torch.')} for {total} "
        "samples: give a boolean a sample, or indices of some"
    )


def choose_subsets(known: Sequence[Subset], names: Sequence[str] | None) -> tuple[Subset, ...]:
    """The named subsets that have samples, in the order they are known in.

    Args:
        known: Every subset.
        names: By name or, whatever the case, by label, such as `["all", "few", "class:3", "Shirt"]`; None for all.

    Returns:
        The subsets.

    Raises:
        InputError: A name is unknown or is the label of several, or none has a sample.
    """
    wanted = {s.name for s in known} if names is None else {subset_name(known, name) for name in names}
    chosen = tuple(s for s in known if s.name in wanted and s.measured_count > 0)
    if not chosen:
        raise InputError(f"no sample belongs to {', '.join(names or ())}: choose other subsets or another split")
    return chosen


def subset_name(known: Sequence[Subset], wanted: str) -> str:
    """The name of the subset that is called so, or labeled so.

    Args:
        known: Every subset.
        wanted: A name or, whatever the case, a label.

    Returns:
        Its name.

    Raises:
        InputError: There is no such subset, or the label is that of several.
    """
    if any(s.name == wanted for s in known):
        return wanted
    labeled = [s.name for s in known if s.label.casefold() == wanted.casefold()]
    if len(labeled) == 1:
        return labeled[0]
    if labeled:
        raise InputError(f"{wanted!r} labels {len(labeled)} subsets: say {' or '.join(labeled[:3])}")
    near = get_close_matches(wanted, sorted({s.name for s in known} | {s.label for s in known}), n=1)
    meant = "".join(f" (did you mean {name}?)" for name in near)
    named = [s.name for s in known if s.kind != "class"]
    numbers = sorted(s.classes[0] for s in known if s.kind == "class")
    whole = len(numbers) > 2 and numbers[-1] - numbers[0] < len(numbers)
    ends = [f"class:{c}" for c in ((numbers[0], numbers[-1]) if whole else numbers)]
    listed = [*named, " to ".join(ends)] if whole else [*named, *ends]
    choice = f"{', '.join(listed[:-1])} and {listed[-1]}" if listed[1:] else f"{listed[0]} alone"
    raise InputError(f"unknown subset {wanted!r}{meant}: choose among {choice}")


def describe(subsets: Sequence[Subset]) -> str:
    """How many there are and how large: `15 subsets (10 classes of 6 to 600 samples)`."""
    counts = [s.measured_count for s in subsets if s.kind == "class"]
    whole = f"{len(subsets)} subset{'' if len(subsets) == 1 else 's'}"
    if not counts:
        return whole
    sizes = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    return f"{whole} ({len(counts)} class{'' if len(counts) == 1 else 'es'} of {sizes} samples)"


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
