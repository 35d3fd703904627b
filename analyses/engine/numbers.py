"""The numbers of a study: one line a variant, seed, subset and measure, and one a pair, seed, subset and witness.

They are read from run folders and measurements, written as two CSV files, and every answer is computed from these
alone.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import TypeVar

import numpy as np

from analyses.engine.parts import Layout
from analyses.engine.study import Flatness as PairOf
from foundation.errors import InputError
from foundation.files import write_text
from landscape.comparison.flatness import Flatness, Witness, compare_flatness
from landscape.comparison.rows import rows_of
from landscape.comparison.runs import open_runs
from landscape.comparison.table import tabulate
from training.run_folder import RunFolder

VALUES, PAIRS = "values.csv", "pairs.csv"
GROUPS = ("all", "many", "medium", "few")
DIGITS = 6
"""Significant digits in the files: single precision has seven."""


@dataclass(frozen=True)
class Value:
    """One number of one trained network.

    Attributes:
        variant: Its variant.
        seed: Its seed.
        split: Where it was measured.
        subset: Of which subset.
        train_count: Training images of the subset.
        measure: What it is.
        value: The number; accuracies in percent.
    """

    variant: str
    seed: int
    split: str
    subset: str
    train_count: int
    measure: str
    value: float


@dataclass(frozen=True)
class Pair:
    """What one witness says of two networks of one seed at equal loss.

    Attributes:
        base: The variant before.
        variant: The variant after.
        seed: Of both.
        split: Where both were measured.
        subset: Of which subset.
        loss: The loss at which they meet.
        witness: The witness's name; empty where the pair does not compare.
        before: Its value.
        after: Its value.
        low: Smallest ratio after/before that the numerical errors allow.
        high: Largest.
        reason: Why there is no verdict on the pair, else empty.
    """

    base: str
    variant: str
    seed: int
    split: str
    subset: str
    loss: float
    witness: str
    before: float
    after: float
    low: float
    high: float
    reason: str = ""


@dataclass(frozen=True)
class Numbers:
    """All numbers of a study.

    Attributes:
        values: Of single networks.
        pairs: Of two at equal loss.
    """

    values: tuple[Value, ...]
    pairs: tuple[Pair, ...]

    def write(self, folder: Path) -> None:
        """Writes both files."""
        write_text(folder / VALUES, _csv(Value, self.values))
        write_text(folder / PAIRS, _csv(Pair, self.pairs))

    def by_seed(self, variant: str, measure: str, subset: str, split: str) -> dict[int, float]:
        """One number of a variant, by seed; what is no number is left out."""
        wanted = (variant, measure, subset, split)
        found = ((v.seed, v.value) for v in self.values if (v.variant, v.measure, v.subset, v.split) == wanted)
        return {seed: value for seed, value in found if math.isfinite(value)}

    def classes(self, variant: str, measure: str, split: str) -> dict[int, list[float]]:
        """One number of every class of a variant, from the first class to the last, by seed."""
        found: dict[int, list[tuple[int, float]]] = {}
        for v in self.values:
            if (v.variant, v.measure, v.split) == (variant, measure, split) and v.subset.startswith("class:"):
                found.setdefault(v.seed, []).append((int(v.subset.partition(":")[2]), v.value))
        return {seed: [value for _, value in sorted(told)] for seed, told in found.items()}

    def flatness(self, base: str, variant: str, subset: str, split: str) -> dict[int, Flatness]:
        """What the witnesses say of two variants, by seed."""
        wanted, found = (base, variant, subset, split), dict[int, list[Pair]]()
        for pair in self.pairs:
            if (pair.base, pair.variant, pair.subset, pair.split) == wanted:
                found.setdefault(pair.seed, []).append(pair)
        return {
            seed: Flatness(
                "", tuple(Witness(p.witness, p.before, p.after, p.low, p.high) for p in pairs if p.witness),
                pairs[0].loss, pairs[0].reason,
            )
            for seed, pairs in found.items()
        }  # fmt: skip


def read_numbers(folder: Path) -> Numbers:
    """Reads what `Numbers.write` wrote.

    Args:
        folder: The folder of both files.

    Returns:
        The numbers.

    Raises:
        InputError: A file is not there, or not as declared.
    """
    return Numbers(tuple(_read(Value, folder / VALUES)), tuple(_read(Pair, folder / PAIRS)))


def collect(layout: Layout, seeds: int, variants: Sequence[str]) -> Numbers:
    """Reads the numbers of every finished part.

    Args:
        layout: Where the parts lie.
        seeds: How many seeds, from 0.
        variants: The variants that are looked at.

    Returns:
        The numbers; what is not finished is absent.
    """
    values: list[Value] = []
    pairs: list[Pair] = []
    for seed in range(seeds):
        for variant in variants:
            values += _of_training(layout, variant, seed)
            values += _of_measurements(layout, variant, seed)
        for pair in layout.study.flatness_pairs():
            files = [layout.landscape(name, seed) for name in (pair.base, pair.variant)]
            if {pair.base, pair.variant} <= set(variants) and all(file.is_file() for file in files):
                first, second = open_runs(files)
                rows = [row for row in rows_of((first, second)) if row.name == pair.subset]
                for told in compare_flatness(first, second, rows, pair.split):
                    pairs += _told(told, pair, seed)
    return Numbers(tuple(values), tuple(pairs))


def _told(flatness: Flatness, pair: PairOf, seed: int) -> list[Pair]:
    nan = float("nan")
    return [
        Pair(
            pair.base, pair.variant, seed, pair.split, pair.subset, _rounded(flatness.loss), w.name,
            _rounded(w.before), _rounded(w.after), _rounded(w.low), _rounded(w.high), flatness.reason,
        )
        for w in flatness.witnesses or (Witness("", nan, nan, nan, nan),)
    ]  # fmt: skip


def _of_training(layout: Layout, variant: str, seed: int) -> list[Value]:
    summary, found = RunFolder(layout.folder(variant, seed)).read_summary() or {}, []
    for ending, which in (("", "last"), (" of best.pt", "best")):
        for measure, scale in (("accuracy", 100.0), ("loss", 1.0)):
            for group, value in (summary.get(which) or {}).get(measure, {}).items():
                if group in GROUPS and value is not None:
                    found.append(Value(variant, seed, "test", group, 0, measure + ending, _rounded(scale * value)))
    return found


def _of_measurements(layout: Layout, variant: str, seed: int) -> list[Value]:
    file = layout.landscape(variant, seed)
    if not file.is_file():
        return []
    runs = open_runs([file])
    rows, found = rows_of(runs), []
    for view in tabulate(runs, rows).views:
        if view.name in ("train", "test"):
            for measure, column in view.columns[0].items():
                for row, value in zip(rows, column.value.tolist(), strict=True):
                    if np.isfinite(value) and measure not in ("accuracy", "train_count", "measured_count"):
                        key = (variant, seed, view.name, row.name, row.train_count)
                        found.append(Value(*key, measure, _rounded(value)))
    return found


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")


_Line = TypeVar("_Line", Value, Pair)


def _csv(kind: type[_Line], lines: Iterable[_Line]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(field.name for field in fields(kind))
    writer.writerows(tuple(f"{v:.{DIGITS}g}" if isinstance(v, float) else v for v in astuple(one)) for one in lines)
    return text.getvalue()


def _read(kind: type[_Line], path: Path) -> Iterable[_Line]:
    types = {"int": int, "float": float, "str": str}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for line in csv.DictReader(file):
                yield kind(**{field.name: types[str(field.type)](line[field.name]) for field in fields(kind)})
    except OSError as error:
        raise InputError(f"{str(path)!r} cannot be read ({error.strerror}): run the study first") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{str(path)!r} is no table of a study: run the study again") from None
