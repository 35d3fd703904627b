"""Subsets at another run's losses: the temperatures that bring them there, and how a file tells of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from foundation.errors import InputError
from landscape.evaluation.record import SLOPE
from landscape.files.landscape_file import read_landscape
from landscape.files.target import Target
from landscape.files.units import Recording
from landscape.schema import NAT, SHARE, side_of
from landscape.subject.subject import Subject
from landscape.subject.temperature import matching_temperature, slope_of, tempered

BATCH = 500
"""Samples a forward pass."""


@dataclass(frozen=True)
class LossMatch:
    """Where the subsets of a run meet those of another.

    Attributes:
        subject: The run, with the subsets that meet the other's loss.
        checkpoint_sha256: Of the other run's checkpoint.
        temperatures: Of each of them; 1 where its loss is the larger one already.
        slopes: How the loss of each rises with the temperature there, dL/d log T.
        unmatched: Names of the other subsets: no temperature reaches the other run's loss on its side of the lowest
            loss, or that is not known.
    """

    subject: Subject
    checkpoint_sha256: str
    temperatures: dict[str, float]
    slopes: dict[str, float]
    unmatched: tuple[str, ...]

    @property
    def config(self) -> dict[str, str]:
        """What makes a measurement there another than one at the run's own losses."""
        return {"match_loss": self.checkpoint_sha256}

    def describe(self) -> str:
        """Which subsets are left out, in words; empty where none is."""
        if not self.unmatched:
            return ""
        return f"left out, for no temperature brings them to the other run's loss: {', '.join(self.unmatched)}"

    def write(self, record: Recording) -> None:
        """Records the temperatures, and on which side of the lowest loss they lie."""
        shape, matched = (len(self.temperatures),), "of the logits, to match the loss"
        record.create("temperature", dims=("subset",), shape=shape, unit=SHARE, meaning=matched)
        record.create("loss_slope", dims=("subset",), shape=shape, unit=NAT, meaning=SLOPE)
        record.write("temperature", slice(None), list(self.temperatures.values()))
        record.write("loss_slope", slice(None), list(self.slopes.values()))


def match_losses(subject: Subject, path: Path, target: Target) -> LossMatch:
    """The temperatures at which a run's losses are the larger ones of its own and another run's.

    The run with the smaller loss is lifted, the other one is left as it is, so that both, measured against each other,
    meet at the same loss, and where both losses rise with the temperature or both fall
    (`landscape.subject.temperature`).

    Args:
        subject: The run to lift.
        path: The other run's `landscape.h5`.
        target: What is measured: the split and which loss.

    Returns:
        The subsets that can be matched, and how.

    Raises:
        InputError: The file cannot be read, that loss and its slope were not evaluated on that split, or no subset can
            be matched.
    """
    sha256, goals = _goals(path, target)
    found, slopes = {}, {}
    for subset in subject.subsets:
        goal, slope = goals.get(subset.name, (math.nan, math.nan))
        if not math.isnan(goal) and not math.isnan(slope):
            with torch.no_grad():
                logits = torch.cat([subject.network(batch.inputs) for batch in subject.batches(subset, BATCH)])
            targets, weights = subject.targets(subject.rows(subset)), subject.weights(subset)
            side = side_of(slope, goal)
            temperature = matching_temperature(subject.loss, logits, targets, weights, goal, side)
            if math.isfinite(temperature):
                found[subset.name] = temperature
                each = slope_of(tempered(subject.loss, temperature))(logits, targets)
                slopes[subset.name] = float((each * weights).sum())
    unmatched = tuple(subset.name for subset in subject.subsets if subset.name not in found)
    if not found:
        raise InputError(
            f"no temperature brings {', '.join(unmatched[:4])} to the losses of --match-loss {str(path)!r}: choose "
            "other --subsets"
        )
    return LossMatch(subject.with_subsets(list(found)), sha256, found, slopes, unmatched)


def _goals(path: Path, target: Target) -> tuple[str, dict[str, tuple[float, float]]]:
    """The other run's checkpoint, and the same loss of each of its subsets with its slope over temperatures."""
    other, (split, loss) = read_landscape(path), (target.config["split"], target.config.get("loss", "evaluation"))
    evaluations = [
        found
        for found in other.measurements
        if found.analysis == "evaluation"
        if (found.config.get("split", found.name), found.config.get("loss", "evaluation")) == (split, loss)
    ]
    for found in evaluations:
        if "loss_slope" in found.data:
            told = [np.asarray(found.data[name], dtype=float).tolist() for name in ("loss", "loss_slope")]
            return other.checkpoint_sha256, dict(zip(found.subset, zip(*told, strict=True), strict=True))
    asked = f"--match-loss {str(path)!r}"
    raise InputError(
        f"{asked} was evaluated on {split!r} by an earlier version, which does not tell whether losses rise or fall "
        "with the temperature: give that run's command once more first"
        if evaluations
        else f"{asked} has no {loss} loss on {split!r}: measure that run there with --loss {loss} first"
    )
