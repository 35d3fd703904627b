"""Which of two networks is flatter, subset by subset: three witnesses that a rescaling of the weights leaves alone.

Curvature shrinks with the loss and with the inverse square of the weights, so that raw eigenvalues of two networks
rank neither. The witnesses are measured where both losses agree, and none of them changes when layers are rescaled
against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.comparison.columns import Z95
from landscape.comparison.rows import Key, Row, keys_of
from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement

CLEAR = 1.25
"""Ratios nearer to one than this are told as equal."""
EQUAL_LOSS = 1.01
"""Two losses whose ratio is nearer to one than this are the same loss."""
RADIUS = 0.1
"""Of the adaptive sharpness."""
FEWEST = 2
"""Witnesses that must agree."""

FLATTER, SHARPER, EQUAL, DISAGREE, UNCERTAIN, UNKNOWN = (
    "flatter", "sharper", "equal", "measures disagree", "uncertain", "",
)  # fmt: skip

TOP, TRACE, ADAPTIVE = WITNESSES = ("λ₁ of |w|H|w|", "trace of |w|H|w|", f"adaptive sharpness, ρ {RADIUS:g}")

RULE = (
    "Three witnesses at equal loss, none of which a rescaling of layers changes: the top eigenvalue and the trace of "
    f"|w|H|w|, and adaptive sharpness at ρ = {RADIUS:g}. One network is called flatter than another at a subset if at "
    f"least {FEWEST} witnesses say so by {CLEAR:g}× or more beyond their numerical error and none says the opposite; "
    f"equal if all lie within {CLEAR:g}×; otherwise the measures disagree, or are too uncertain to tell. Copies of "
    "neurons change the witnesses: networks of different width do not compare."
)
"""The rule as the page states it."""

_SAME = ("split", "loss", "params", "batch_norm", "data", "model", "samples_per_class")
"""Settings in which two measurements must agree before their numbers are compared."""


@dataclass(frozen=True)
class Witness:
    """What one scale-free measure says of two networks.

    Attributes:
        name: What it is called.
        before: Its value in the first network.
        after: Its value in the second.
        low: Smallest ratio after/before that the numerical errors of both allow.
        high: Largest.
    """

    name: str
    before: float
    after: float
    low: float
    high: float

    @property
    def ratio(self) -> float:
        """After over before."""
        return self.after / self.before

    @property
    def says(self) -> str:
        """`FLATTER`, `SHARPER` or `EQUAL` where that holds whatever the errors; else `UNCERTAIN`."""
        if self.high <= 1 / CLEAR:
            return FLATTER
        if self.low >= CLEAR:
            return SHARPER
        return EQUAL if self.low > 1 / CLEAR and self.high < CLEAR else UNCERTAIN


@dataclass(frozen=True)
class Flatness:
    """How the second of two networks compares with the first at one subset.

    Attributes:
        verdict: `FLATTER`, `SHARPER`, `EQUAL`, `DISAGREE` or `UNCERTAIN`; `UNKNOWN` with fewer than two witnesses.
        witnesses: Those that both files hold at equal loss.
        loss: The loss at which they were measured; NaN where there is none.
    """

    verdict: str
    witnesses: tuple[Witness, ...] = ()
    loss: float = float("nan")


def judge(witnesses: Sequence[Witness]) -> str:
    """The rule.

    Args:
        witnesses: At most three, measured at equal loss.

    Returns:
        The verdict on the second network.
    """
    if len(witnesses) < FEWEST:
        return UNKNOWN
    said = [witness.says for witness in witnesses]
    for verdict, opposite in ((FLATTER, SHARPER), (SHARPER, FLATTER)):
        if said.count(verdict) >= FEWEST and opposite not in said:
            return verdict
    clear = set(said) - {UNCERTAIN}
    if clear == {EQUAL} and UNCERTAIN not in said:
        return EQUAL
    return DISAGREE if len(clear) > 1 else UNCERTAIN


def compare_flatness(first: Run, second: Run, rows: Sequence[Row], split: str = "train") -> tuple[Flatness, ...]:
    """Judges every subset.

    Args:
        first: The network to compare with.
        second: The network that is judged.
        rows: The subsets.
        split: The split on which both were measured.

    Returns:
        One entry a row. Of the ways in which the losses can meet (the second run lifted to the first's loss, the first
        to the second's, both, or neither where they agree already) the one with the most witnesses counts, then the
        one at the highest loss.
    """
    ways = [_readings(first, second, split, lifted) for lifted in _WAYS]
    return tuple(_best([readings[key] for readings in ways if key in readings]) for row in rows for key in [_key(row)])


_WAYS = ((False, True), (True, False), (True, True), (False, False))
"""Whether the first and the second run are read where they were lifted to the other's loss."""


def _key(row: Row) -> Key:
    return row.name, row.label


def _best(readings: Sequence[Flatness]) -> Flatness:
    known = [reading for reading in readings if reading.witnesses]
    return max(known, key=lambda reading: (len(reading.witnesses), reading.loss), default=Flatness(UNKNOWN))


def _readings(first: Run, second: Run, split: str, lifted: tuple[bool, bool]) -> dict[Key, Flatness]:
    """What one way of bringing the losses together says of each subset."""
    pairs = {
        analysis: (
            _measured(first, analysis, split, second if lifted[0] else None),
            _measured(second, analysis, split, first if lifted[1] else None),
        )
        for analysis in ("hessian", "sharpness")
    }
    found: dict[Key, list[tuple[float, Witness]]] = {}
    for analysis, (before, after) in pairs.items():
        if before is not None and after is not None and _comparable(before, after):
            for key, loss, witness in _witnesses(analysis, before, after):
                found.setdefault(key, []).append((loss, witness))
    readings = {}
    for key, told in found.items():
        loss = told[0][0]
        together = tuple(witness for at, witness in told if equal_losses(at, loss))
        readings[key] = Flatness(judge(together), together, loss)
    return readings


def _measured(run: Run, analysis: str, split: str, lifted_to: Run | None) -> Measurement | None:
    """The run's measurement on that split: the plain one, or the one lifted to another run's loss."""
    wanted = None if lifted_to is None else lifted_to.landscape.checkpoint_sha256
    for name, measurement in sorted(run.of(analysis).items(), key=lambda item: item[0] != split):
        config = measurement.config
        if config.get("split", name) == split and config.get("match_loss") == wanted:
            return measurement
    return None


def _comparable(before: Measurement, after: Measurement) -> bool:
    return all(before.config.get(key) == after.config.get(key) for key in _SAME)


def _witnesses(analysis: str, before: Measurement, after: Measurement) -> Iterator[tuple[Key, float, Witness]]:
    """The witnesses of the subsets that both measured on the same samples at the same loss."""
    places = {key: place for place, key in enumerate(keys_of(after))}
    readers = [_values(measurement, analysis) for measurement in (before, after)]
    for i, key in enumerate(keys_of(before)):
        j = places.get(key)
        if j is None or not _same_samples(before, i, after, j):
            continue
        losses = [_at(measurement.data, "loss", place) for measurement, place in ((before, i), (after, j))]
        if not equal_losses(*losses):
            continue
        for name in readers[0]:
            if name in readers[1]:
                (value, low, high), (value_, low_, high_) = readers[0][name][i], readers[1][name][j]
                if low > 0 and low_ > 0 and np.isfinite([value, high, value_, high_]).all():
                    yield key, max(losses), Witness(name, value, value_, low_ / high, high_ / low)


def _same_samples(before: Measurement, i: int, after: Measurement, j: int) -> bool:
    return bool(before.train_count[i] == after.train_count[j] and before.measured_count[i] == after.measured_count[j])


def equal_losses(loss: float, other: float) -> bool:
    """Whether two losses are one as far as curvature is concerned."""
    return bool(loss > 0 and other > 0 and 1 / EQUAL_LOSS < loss / other < EQUAL_LOSS)


def _at(data: Mapping[str, np.ndarray], key: str, place: int) -> float:
    return float(data[key][place]) if key in data else float("nan")


def _values(measurement: Measurement, analysis: str) -> dict[str, np.ndarray]:
    """By witness: value, least and largest value that its numerical error allows, (S, 3); NaN where not known."""
    data, found = measurement.data, {}
    if analysis == "sharpness":
        places = np.flatnonzero(np.isclose(data.get("radius", np.empty(0)), RADIUS))
        if "adaptive" in data and len(places):
            # One gradient step, computed without sampling: rounding is its only error.
            value = data["adaptive"][:, places[0]].astype(float)
            found[ADAPTIVE] = np.stack([value, value, value], 1)
        return found
    if "top_scaled" in data and "top_scaled_residual" in data:
        found[TOP] = _around(data["top_scaled"], data["top_scaled_residual"])
    if "trace_scaled" in data:
        error = data.get("trace_scaled_se", np.full(len(data["trace_scaled"]), np.nan))
        found[TRACE] = _around(data["trace_scaled"], Z95 * error)
        for column, end in ((1, "trace_scaled_low"), (2, "trace_scaled_high")):
            if end in data:
                found[TRACE][:, column] = np.where(np.isfinite(data[end]), data[end], found[TRACE][:, column])
    return found


def _around(value: np.ndarray, half: np.ndarray) -> np.ndarray:
    value, half = value.astype(float), half.astype(float)
    return np.stack([value, value - half, value + half], 1)
