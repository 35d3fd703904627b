"""What a run will be, said before it starts: where, how large, on what, for how long."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import torch
from torch.nn import functional

from foundation.devices import describe_device
from foundation.groups import Groups, group_classes
from training.trainer import Trainer

PASSES = {"sam": 2.0, "asam": 2.0, "gsam": 2.0, "gnp": 2.0, "imbsam": 2.5, "focal-sam": 2.5, "bgp-parameters": 2.5}
"""Forward and backward passes of a perturbing step over those of a plain one."""


@dataclass(frozen=True)
class Preview:
    """A run before it starts.

    Attributes:
        device: In words.
        model: The network's name.
        parameters: How many numbers are trained.
        class_counts: n_c.
        groups: Many, medium and few.
        epochs: Of all phases.
        steps: Of the optimizer, over all epochs.
        step_seconds: What the steps' forward and backward passes take, each, on this device now.
    """

    device: str
    model: str
    parameters: int
    class_counts: tuple[int, ...]
    groups: Groups
    epochs: int
    steps: int
    step_seconds: float

    def lines(self) -> list[str]:
        """The same as lines of text."""
        counts = self.class_counts
        parts = ", ".join(f"{name} {len(members)}" for name, members in self.groups.named())
        rule = "n > 100, 20 to 100, n < 20" if self.groups.rule == "counts" else "thirds by rank"
        return [
            f"{self.model} of {self.parameters:,} parameters on {self.device}",
            f"{sum(counts):,} training images of {len(counts)} classes, {max(counts):,} to {min(counts):,} a class; "
            f"classes by count ({rule}): {parts}",
            f"{self.epochs} epochs, {self.steps:,} steps, about {duration(self.steps * self.step_seconds)} of passes "
            "(evaluation and reading come on top)",
        ]


def preview(trainer: Trainer) -> Preview:
    """What a trainer is about to do; neither it nor the random numbers of its run change.

    Args:
        trainer: At its beginning.

    Returns:
        What there is to say.
    """
    network = trainer.network
    steps = trainer.steps_per_epoch * trainer.epochs
    optimizer = trainer.method.optimizer
    passes = 1.0 if optimizer is None else PASSES.get(optimizer.name, 2.0)
    return Preview(
        device=describe_device(trainer.device),
        model=trainer.config.model,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        class_counts=trainer.data.class_counts,
        groups=group_classes(trainer.data.class_counts),
        epochs=trainer.epochs,
        steps=steps,
        step_seconds=passes * _seconds_of_a_pass(trainer),
    )


def duration(seconds: float) -> str:
    """Seconds in words of one unit: 40 s, 12 min, 3.5 h."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6_000 else f"{seconds / 3_600:.1f} h"


def _seconds_of_a_pass(trainer: Trainer) -> float:
    """Forward and backward of cross-entropy on a copy of the network, blank images of a batch, the second of two."""
    network = copy.deepcopy(trainer.network).train()
    size = min(trainer.config.batch_size, len(trainer.data.train)) // trainer.config.accumulate
    shape = trainer.data.train.pixels(torch.tensor([0])).shape[1:]
    dtype = next(network.parameters()).dtype
    images = torch.zeros(max(size, 2), *shape, device=trainer.device, dtype=dtype)
    if trainer.config.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(len(images), dtype=torch.int64, device=trainer.device)
    for _ in range(2):
        started = time.perf_counter()
        with trainer.autocast():
            logits = network(images)
        functional.cross_entropy(logits.float(), labels).backward()  # type: ignore[no-untyped-call]
        if trainer.device.type == "cuda":
            torch.cuda.synchronize(trainer.device)
    return (time.perf_counter() - started) * trainer.config.accumulate
