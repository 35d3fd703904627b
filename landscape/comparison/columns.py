"""A quantity of the page, and its values in one run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Z95 = 1.959964
"""The 97.5 % point of the normal distribution."""


@dataclass(frozen=True)
class Measure:
    """A quantity of the page.

    Attributes:
        key: Its short name, also in the page's address.
        title: What an axis says.
        short: What a table's head says.
        scale: `log` or `linear`; `signed` is linear around 0 and logarithmic beyond.
        family: The heading it is listed under.
        words: What it is, in a sentence.
        error: What its error bar is, in words; empty when it has none.
        percent: Whether it is a share, shown in per cent.
    """

    key: str
    title: str
    short: str
    scale: str
    family: str
    words: str
    error: str = ""
    percent: bool = False


@dataclass(frozen=True)
class Column:
    """A measure of one run in one view.

    Attributes:
        value: (S,), NaN where it was not measured.
        low: Lower end of the error bar, (S,), or None.
        high: Its upper end.
    """

    value: np.ndarray
    low: np.ndarray | None = None
    high: np.ndarray | None = None
