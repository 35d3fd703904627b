"""The tracker of `python -m training.run --track`: a plug-in that the command loads by name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from foundation.groups import EVEN, group_classes
from landscape.recording.tracker import Tracker
from landscape.subject.nested import Inputs
from landscape.subject.samples import Samples

SAMPLES, MOST, LEAST = 1024, 64, 2
"""Samples in all, and the most and fewest of each class."""
CLASSES = 20
"""With more of them only groups are tracked."""


class Some:
    """Some samples of others.

    Args:
        samples: The others.
        places: Which, (n,).

    Attributes:
        labels: Theirs, (n,).
    """

    def __init__(self, samples: Samples, places: Tensor) -> None:
        self._samples, self._places, self.labels = samples, places, samples.labels[places]

    def inputs(self, indices: Tensor) -> Inputs:
        """The inputs of some of them."""
        return self._samples.inputs(self._places[indices])


def track(
    folder: Path, samples: Samples, names: Sequence[str], counts: Sequence[int]
) -> Callable[[nn.Module, int], None]:
    """Tracks a run of `training` on a few samples of each class, after each epoch.

    Args:
        folder: The run's.
        samples: Its training images.
        names: Of the classes.
        counts: Training samples of each class.

    Returns:
        What is called with the network and the epochs done.
    """
    each = min(MOST, max(LEAST, SAMPLES // len(counts)))
    places = torch.cat([_spread(torch.nonzero(samples.labels == c)[:, 0], each) for c in range(len(counts))])
    groups = group_classes(counts)
    grouped = [] if groups.rule == EVEN else [name for name, members in groups.named() if members]
    tracker = Tracker(
        Some(samples, places), every=1, out=folder / "track.h5", resume=True, train_counts=counts, class_names=names,
        subsets=None if len(counts) <= CLASSES else ["all", "balanced", *grouped],
    )  # fmt: skip

    def look(network: nn.Module, epoch: int) -> None:
        tracker.step(network, step=epoch, epoch=epoch)

    return look


def _spread(places: Tensor, most: int) -> Tensor:
    """At most so many of them, evenly."""
    return places[torch.linspace(0, len(places) - 1, min(most, len(places))).long()]
