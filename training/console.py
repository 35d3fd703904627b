"""What training says on a terminal: what can be named (`--list`), what a run will be, an epoch a line, how it ended."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional

from foundation.devices import describe_device
from foundation.groups import EVEN, Groups, group_classes
from training.batches.augment import AUGMENTATIONS
from training.data import DATASETS
from training.methods.registry import KINDS
from training.models import MODELS
from training.recipe import load_recipe, recipe_names
from training.trainer import Trainer

COLUMNS = ("all", "many", "medium", "few")
SPLITS = ("validation", "test")
HEADER = "epoch  objective |" + " |".join(
    f" {split[:5]:>5}" + "".join(f"{name:>7}" for name in COLUMNS) for split in SPLITS
)

PASSES = {"imbsam": 2.5, "focal-sam": 2.5, "sse-sam": 4.0, "gnm": 1.0, "bgp-parameters": 2.5}
"""Forward and backward passes of perturbing steps over those of a plain one; 2 of the others."""


def listing() -> str:
    """Methods, networks, data sets, augmentations and recipes, one a line with its paper."""
    lines = ["methods (--method), joined by +, such as ldam-drw+bgp"]
    for kind, parts in KINDS.items():
        lines.append(f"  {kind}")
        for name, part in parts.items():
            settings = ", ".join(f"{key}={value}" for key, value in part.defaults.items())
            lines.append(_line(name, part.about, part.paper, indent=4) + (f"  {{{settings}}}" if settings else ""))
    for title, entries in (
        ("networks (--model); timm:NAME where timm is installed", MODELS),
        ("data sets (--data)", DATASETS),
        ("augmentations (--augment)", AUGMENTATIONS),
    ):
        lines += ["", title]
        lines += [_line(name, entry.about, entry.paper, indent=2) for name, entry in entries.items()]
    lines += ["", "recipes (--recipe)"]
    for name in recipe_names():
        recipe = load_recipe(name)
        lines.append(f"  {name:<36} {recipe['model']}, {recipe['epochs']} epochs, batches of {recipe['batch_size']}")
    return "\n".join(lines)


def _line(name: str, about: str, paper: str, *, indent: int) -> str:
    source = "" if paper == "-" else f" ({paper})"
    return f"{' ' * indent}{name:<{24 - indent}} {about}{source}"


def epoch_line(row: dict[str, Any]) -> str:
    """One epoch: the objective and accuracies in percent, blank where they were not measured.

    Args:
        row: A line of `metrics.jsonl`.

    Returns:
        Text that stands under `HEADER`.
    """
    parts = [f"{row['epoch']:5d} {row['objective']:10.4f} |"]
    for split in SPLITS:
        accuracy = row[split]["accuracy"] if split in row else {}
        cells = (f"{100 * accuracy[name]:7.1f}" if name in accuracy else " " * 7 for name in COLUMNS)
        parts.append(" " * 6 + "".join(cells))
    return f"{parts[0]}{' |'.join(parts[1:])}".rstrip()


def result_line(name: str, epoch: int, scores: dict[str, Any]) -> str:
    """The sentence that ends a run.

    Args:
        name: Which epoch it is, `"last"` or `"best"`.
        epoch: Its number.
        scores: `loss` and `accuracy` of the test split.

    Returns:
        Accuracies in percent.
    """
    accuracy = scores["accuracy"]
    which = f"best epoch {epoch} by validation (best.pt)" if name == "best" else f"{name} epoch {epoch}"
    shown = ", ".join(f"{key} {100 * accuracy[key]:.1f}" for key in COLUMNS if key in accuracy)
    return f"{which}, test accuracy: {shown} %"


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
        rule = "n > 100, 20 to 100, n < 20" if self.groups.rule == "counts" else "thirds by rank"
        parts = ", ".join(f"{name} {len(members)}" for name, members in self.groups.named())
        grouped = "no groups" if self.groups.rule == EVEN else f"classes by count ({rule}): {parts}"
        return [
            f"{self.model} of {self.parameters:,} parameters on {self.device}",
            f"{sum(counts):,} training images of {len(counts)} classes, {max(counts):,} to {min(counts):,} a class; "
            f"{grouped}",
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
