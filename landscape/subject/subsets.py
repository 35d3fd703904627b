"""Samples that are measured as one: everything, the mean of the classes, groups and single classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


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
