"""Samples that are measured as one: everything, the mean of the classes, groups and single classes."""

from __future__ import annotations

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
