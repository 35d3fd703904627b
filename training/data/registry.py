"""The data sets by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import InputError, one_of
from training.data import digits, fashion
from training.data.source import Source


@dataclass(frozen=True)
class Entry:
    """One data set.

    Attributes:
        open: Opens it: `open(data_dir, **kwargs)`.
        about: What it is, in a few words.
        paper: Where it comes from.
    """

    open: Callable[..., Source]
    about: str
    paper: str


FASHION = "Xiao et al. 2017, arXiv:1708.07747"

SOURCES = {
    "fashion-mini": Entry(fashion.open_mini, "packed part of Fashion-MNIST, 600+100 and 100 test a class", FASHION),
    "fashion-mnist": Entry(fashion.open_full, "28×28 grey clothes, 6,000 and 1,000 test a class", FASHION),
    "digits": Entry(digits.open_digits, "8×8 grey digits of scikit-learn", "Alpaydin & Kaynak, UCI 1998"),
}


def open_source(name: str, data_dir: Path | None, kwargs: dict[str, Any]) -> Source:
    """Opens a data set by name.

    Args:
        name: A key of `SOURCES`.
        data_dir: Where the user says that it lies.
        kwargs: The set's own options.

    Returns:
        The source.

    Raises:
        InputError: The name or the folder is unknown.
    """
    if name not in SOURCES:
        raise one_of("data set", name, SOURCES)
    if data_dir is not None and not data_dir.is_dir():
        raise InputError(f"--data-dir {str(data_dir)!r} is no folder: name the one that holds {name}")
    return SOURCES[name].open(data_dir, **kwargs)
