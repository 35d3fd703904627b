"""Subsets at another run's losses: the temperatures that bring them there, and how a file tells of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from foundation.errors import InputError
from landscape.files.landscape_file import read_landscape
from landscape.files.target import Target
from landscape.files.units import Recording
from landscape.schema import SHARE
from landscape.subject.subject import Subject
from landscape.subject.temperature import matching_temperature

BATCH = 500
"""Samples a forward pass."""


@dataclass(frozen=True)
class LossMatch:
    """Where the subsets of a run meet those of another.

    Attributes:
        subject: The run, with the subsets that meet the other's loss.
        checkpoint_sha256: Of the other run's checkpoint.
        temperatures: Of each of them; 1 where its loss is the larger one already.
        unmatched: Names of the other subsets: no temperature reaches the other run's loss, or that is not known.
    """

    subject: Subject
    checkpoint_sha256: str
    temperatures: dict[str, float]
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
        """Records the temperatures."""
        meaning = "of the logits, to match the loss"
        record.create("temperature", dims=("subset",), shape=(len(self.temperatures),), unit=SHARE, meaning=meaning)
        record.write("temperature", slice(None), list(self.temperatures.values()))


def match_losses(subject: Subject, path: Path, target: Target) -> LossMatch:
    """The temperatures at which a run's losses are the larger ones of its own and another run's.

    The run with the smaller loss is lifted, the other one is left as it is, so that both, measured against each other,
    meet at the same loss.

    Args:
        subject: The run to lift.
        path: The other run's `landscape.h5`.
        target: What is measured: the split and which loss.

    Returns:
        The subsets that can be matched, and how.

    Raises:
        InputError: The file cannot be read, that loss was not evaluated on that split, or no subset can be matched.
    """
    sha256, losses = _losses(path, target)
    found = {}
    for subset in subject.subsets:
        goal = losses.get(subset.name, math.nan)
        if not math.isnan(goal):
            with torch.no_grad():
                logits = torch.cat([subject.network(batch.inputs) for batch in subject.batches(subset, BATCH)])
            targets, weights = subject.targets(subject.rows(subset)), subject.weights(subset)
            temperature = matching_temperature(subject.loss, logits, targets, weights, goal)
            if math.isfinite(temperature):
                found[subset.name] = temperature
    unmatched = tuple(subset.name for subset in subject.subsets if subset.name not in found)
    if not found:
        raise InputError(
            f"no temperature brings {', '.join(unmatched[:4])} to the losses of --match-loss {str(path)!r}: choose "
            "other --subsets"
        )
    return LossMatch(subject.with_subsets(list(found)), sha256, found, unmatched)


def _losses(path: Path, target: Target) -> tuple[str, dict[str, float]]:
    """The other run's checkpoint, and the same loss of each of its subsets."""
    other, (split, loss) = read_landscape(path), (target.config["split"], target.config.get("loss", "evaluation"))
    for found in other.measurements:
        same = (found.config.get("split", found.name), found.config.get("loss", "evaluation")) == (split, loss)
        if found.analysis == "evaluation" and same:
            losses = np.asarray(found.data["loss"], dtype=float)
            return other.checkpoint_sha256, dict(zip(found.subset, losses.tolist(), strict=True))
    raise InputError(
        f"--match-loss {str(path)!r} has no {loss} loss on {split!r}: measure that run there with --loss {loss} first"
    )
