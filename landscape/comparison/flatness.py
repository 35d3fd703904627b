"""Which of two networks is flatter, subset by subset: three witnesses that a rescaling of the weights leaves alone.

Curvature shrinks with the loss and with the inverse square of the weights, so that raw eigenvalues of two networks
rank neither. The witnesses are measured where both losses agree, on one side of the lowest loss over temperatures
(`landscape.subject.temperature` says why), and none of them changes when layers are rescaled against each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from landscape.comparison.columns import Z95
from landscape.comparison.rows import Key, Row, keys_of
from landscape.comparison.runs import Run
from landscape.files.landscape_file import Measurement
from landscape.schema import side_of

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

NOT_MEASURED = "nothing was measured at equal loss"
FEW_WITNESSES = f"fewer than {FEWEST} of the three witnesses were measured at equal loss"
OTHER_SIDE = "at equal loss, one loss rises with the temperature of the logits and the other falls"
UNTOLD = (
    "not both files tell whether the loss rises or falls with the temperature of the logits (those of earlier versions "
    "do not)"
)
"""Why there is no verdict."""

RULE = (
    "Three witnesses at equal loss, where both losses rise with the temperature of the logits or both fall, none of "
    "which a rescaling of layers changes: the top eigenvalue and the trace of "
    f"|w|H|w|, and adaptive sharpness at ρ = {RADIUS:g}. One network is called flatter than another at a subset if at "
    f"least {FEWEST} witnesses say so by {CLEAR:g}× or more beyond their numerical error and none says the opposite; "
    f"equal if all lie within {CLEAR:g}×; otherwise the measures disagree, or are too uncertain to tell. Copies of "
    "neurons change the witnesses: networks of different width do not compare."
)
"""The rule as the page states it."""

_SAME = ("split", "loss", "params", "batch_norm", "data", "model", "samples_per_class")
"""Settings in which two measurements must agree before their numbers are compared."""
_ON = ("loss", "batch_norm")
"""Settings in which an evaluation tells of a measurement, beside the split."""


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
        reason: Why the verdict is `UNKNOWN`, in words.
    """

    verdict: str
    witnesses: tuple[Witness, ...] = ()
    loss: float = float("nan")
    reason: str = ""


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
    if known:
        return max(known, key=lambda reading: (len(reading.witnesses), reading.loss))
    return max(
        readings, key=lambda reading: reading.reason == OTHER_SIDE, default=Flatness(UNKNOWN, reason=NOT_MEASURED)
    )


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
    apart: dict[Key, str] = {}
    for analysis, (before, after) in pairs.items():
        if before is not None and after is not None and _comparable(before, after):
            sides = _sides(first, before), _sides(second, after)
            values = _values(before, analysis), _values(after, analysis)
            for key, i, j, loss in _met(before, after):
                if why := _apart(sides[0].get(key), sides[1].get(key)):
                    apart[key] = why
                else:
                    found.setdefault(key, []).extend((loss, witness) for witness in _witnesses(*values, i, j))
    readings = {key: Flatness(UNKNOWN, reason=why) for key, why in apart.items()}
    for key, told in found.items():
        if told:
            loss = told[0][0]
            together = tuple(witness for at, witness in told if equal_losses(at, loss))
            verdict = judge(together)
            readings[key] = Flatness(verdict, together, loss, FEW_WITNESSES if verdict == UNKNOWN else "")
    return readings


def _measured(run: Run, analysis: str, split: str, lifted_to: Run | None) -> Measurement | None:
    """The run's measurement on that split: the plain one, or the one lifted to another run's loss."""
    wanted = None if lifted_to is None else lifted_to.landscape.checkpoint_sha256
    for _, measurement in sorted(run.of(analysis).items(), key=lambda item: item[0] != split):
        if _split(measurement) == split and measurement.config.get("match_loss") == wanted:
            return measurement
    return None


def _split(measurement: Measurement) -> str:
    return str(measurement.config.get("split", measurement.name))


def _comparable(before: Measurement, after: Measurement) -> bool:
    return all(before.config.get(key) == after.config.get(key) for key in _SAME)


def _sides(run: Run, measurement: Measurement) -> dict[Key, int]:
    """On which side of its lowest loss a run was measured, by subset, where its file tells."""
    told = [measurement] if "match_loss" in measurement.config else run.of("evaluation").values()
    for m in told:
        same = _split(m) == _split(measurement) and all(m.config.get(k) == measurement.config.get(k) for k in _ON)
        if same and "loss_slope" in m.data:
            each = zip(keys_of(m), m.data["loss_slope"].tolist(), m.data["loss"].tolist(), strict=True)
            return {key: side_of(slope, loss) for key, slope, loss in each if np.isfinite(slope)}
    return {}


def _apart(side: int | None, other: int | None) -> str:
    """Why two networks at equal loss are not compared; empty where they are."""
    if side is None or other is None:
        return UNTOLD
    return OTHER_SIDE if side * other < 0 else ""


def _met(before: Measurement, after: Measurement) -> Iterator[tuple[Key, int, int, float]]:
    """The subsets that both measured on the same samples at the same loss: key, place in each, the larger loss."""
    places = {key: place for place, key in enumerate(keys_of(after))}
    for i, key in enumerate(keys_of(before)):
        j = places.get(key)
        if j is not None and _same_samples(before, i, after, j):
            losses = _at(before.data, "loss", i), _at(after.data, "loss", j)
            if equal_losses(*losses):
                yield key, i, j, max(losses)


def _witnesses(before: _Values, after: _Values, i: int, j: int) -> Iterator[Witness]:
    """The witnesses that both measured of a subset, the i-th of one and the j-th of the other."""
    for name in before:
        if name in after:
            (value, low, high), (value_, low_, high_) = before[name][i], after[name][j]
            if low > 0 and low_ > 0 and np.isfinite([value, high, value_, high_]).all():
                yield Witness(name, value, value_, low_ / high, high_ / low)


def _same_samples(before: Measurement, i: int, after: Measurement, j: int) -> bool:
    return bool(before.train_count[i] == after.train_count[j] and before.measured_count[i] == after.measured_count[j])


def equal_losses(loss: float, other: float) -> bool:
    """Whether two losses are one as far as curvature is concerned."""
    return bool(loss > 0 and other > 0 and 1 / EQUAL_LOSS < loss / other < EQUAL_LOSS)


def _at(data: Mapping[str, np.ndarray], key: str, place: int) -> float:
    return float(data[key][place]) if key in data else float("nan")


_Values = Mapping[str, np.ndarray]
"""By witness: value, least and largest value that its numerical error allows, (S, 3); NaN where not known."""


def _values(measurement: Measurement, analysis: str) -> _Values:
    data, found = measurement.data, dict[str, np.ndarray]()
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
