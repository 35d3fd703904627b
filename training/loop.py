"""The training loop."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundation.devices import choose_device
from foundation.errors import LandscapeError
from foundation.progress import Progress
from foundation.provenance import provenance
from training.checkpoint import Checkpoint
from training.config import Config
from training.data import DataSet, open_data
from training.evaluate import evaluate
from training.feed import Resident
from training.folder import RunFolder
from training.losses.base import Outputs
from training.methods import Method, build_method
from training.models import build_model
from training.schedules import learning_rate_factor

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
WEIGHT_DECAY = 5e-4


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where its files are.
        checkpoint: The network after the last epoch.
        best: The best network by the validation split; None when nothing was held out.
        rows: The lines of `metrics.jsonl`, one an epoch.
        class_counts: n_c.
        config: The resolved configuration.
    """

    folder: Path
    checkpoint: Path
    best: Path | None
    rows: tuple[dict[str, Any], ...] = field(repr=False)
    class_counts: tuple[int, ...]
    config: Config = field(repr=False)


def train(config: Config, *, say: Callable[[str], None] = lambda line: None) -> Run:
    """Trains one network, or continues where an interrupted run of the same configuration stopped.

    A run that is already complete is returned as it is.

    Args:
        config: What to train.
        say: Called with one line of text now and then.

    Returns:
        The run.

    Raises:
        InputError: A setting is not usable, or the folder holds another run.
        LandscapeError: Training diverged.
    """
    device = choose_device(config.device)
    data = open_data(
        config.data,
        imbalance=config.imbalance,
        imbalance_type=config.imbalance_type,
        seed=config.data_seed,
        validation=config.validation,
        data_dir=config.data_dir,
        **config.data_kwargs,
    )
    method = build_method(config.method, data.class_counts, **config.method_kwargs)
    if config.weight_decay is None:
        config = dataclasses.replace(config, weight_decay=WEIGHT_DECAY)
    # Initial weights and dropout use the global generator: it is given back as it was.
    forked = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(forked), RunFolder(config.out).claimed(config) as saved:
        session = Session(config, data, method, device)
        return session.run(RunFolder(config.out), saved, say)


class Session:
    """A network, its optimizer and its data on a device.

    Args:
        config: What to train, resolved.
        data: The data set.
        method: How to train.
        device: Where.
    """

    def __init__(self, config: Config, data: DataSet, method: Method, device: torch.device) -> None:
        self.config, self.data, self.method, self.device = config, data, method, device
        self.dtype = DTYPES[config.precision]
        torch.manual_seed(config.seed)
        channels = data.train.pixels(torch.tensor([0])).shape[1]
        kwargs = {"in_channels": channels, "classes": len(data.class_names), "head": method.head, **config.model_kwargs}
        if method.scale is not None:
            kwargs["scale"] = method.scale
        self.model = {"name": config.model, "kwargs": kwargs}
        network = build_model(config.model, **kwargs).to(device, self.dtype)
        self.network = network.to(memory_format=torch.channels_last) if config.channels_last else network
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), config.lr, momentum=config.momentum, weight_decay=config.weight_decay or 0.0
        )
        self.feeds = {
            name: Resident(split, device, dtype=self.dtype, channels_last=config.channels_last)
            for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
            if len(split)
        }
        self.steps_per_epoch = -(-len(data.train) // config.batch_size)
        self.provenance = provenance(device, seed=config.seed)

    def run(self, folder: RunFolder, saved: dict[str, Any] | None, say: Callable[[str], None]) -> Run:
        """Trains from what was saved to the last epoch, writing each epoch.

        Args:
            folder: Where to write.
            saved: The content of `resume.pt`, or None.
            say: Called with one line an epoch.

        Returns:
            The run.
        """
        epochs, start, best = self.config.epochs, 0, -1.0
        if saved is not None:
            self.network.load_state_dict(saved["state_dict"])
            self.optimizer.load_state_dict(saved["optimizer"])
            start, best = saved["epoch"], saved["best"]
        rows = folder.cut_metrics(start)
        with Progress(f"training {folder.path.name}", epochs - start, "epoch") as progress:
            for epoch in range(start, epochs):
                row = self.epoch(epoch)
                rows.append(row)
                score = row["validation"]["accuracy"]["balanced"] if "validation" in row else None
                is_best = score is not None and score > best
                best = score if is_best else best
                folder.record(
                    row,
                    self.checkpoint(epoch + 1, row),
                    {
                        "epoch": epoch + 1,
                        "best": best,
                        "state_dict": self.network.state_dict(),
                        "optimizer": self.optimizer.state_dict(),
                    },
                    best=is_best,
                    snapshot=is_snapshot(epoch + 1, epochs, self.config.snapshots),
                )
                say(describe(row))
                progress.advance(note=describe(row))
        return Run(
            folder=folder.path,
            checkpoint=folder.checkpoint,
            best=folder.best if folder.best.is_file() else None,
            rows=tuple(rows),
            class_counts=self.data.class_counts,
            config=self.config,
        )

    def epoch(self, epoch: int) -> dict[str, Any]:
        """One pass over the training split and what came of it.

        Every random draw comes from generators seeded by the run's seed and the epoch, so that an epoch is the same
        whether or not the run was interrupted before it.

        Args:
            epoch: From 0.

        Returns:
            The line for `metrics.jsonl`.

        Raises:
            LandscapeError: The objective is no longer finite.
        """
        started = time.monotonic()
        seed = self.config.seed * 1_000_003 + epoch
        torch.manual_seed(seed)
        order = torch.randperm(len(self.data.train), generator=torch.Generator().manual_seed(seed)).to(self.device)
        self.network.train()
        total = torch.zeros((), device=self.device)
        for index, indices in enumerate(order.split(self.config.batch_size)):
            total += self.step(epoch, index, indices) * len(indices)
        objective = float(total) / len(order)
        if not objective - objective == 0:
            raise LandscapeError(
                f"training diverged in epoch {epoch + 1}: the objective is {objective}; try a lower --lr than "
                f"{self.config.lr:g}"
            )
        last = epoch + 1 == self.config.epochs
        row: dict[str, Any] = {
            "epoch": epoch + 1,
            "objective": objective,
            "lr": self.optimizer.param_groups[0]["lr"],
            "seconds": 0.0,
        }
        looked_at = (
            ("validation", "train", "test")
            if last or (epoch + 1) % self.config.evaluate_every == 0
            else ("validation",)
        )
        for name in looked_at:
            if name in self.feeds:
                with self.autocast():
                    row[name] = evaluate(self.network, self.feeds[name].evaluation(), self.data.class_counts)
        row["seconds"] = round(time.monotonic() - started, 3)
        return row

    def step(self, epoch: int, index: int, indices: Tensor) -> Tensor:
        """One optimizer step.

        Args:
            epoch: From 0.
            index: The step within the epoch, from 0.
            indices: (b,) positions in the training split, on the device.

        Returns:
            The objective, on the device.
        """
        config = self.config
        done = epoch + index / self.steps_per_epoch
        factor = learning_rate_factor(
            config.schedule, epoch + (index + 1) / self.steps_per_epoch, epochs=config.epochs, warmup=config.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * factor
        images, labels = self.feeds["train"].batch(indices)
        with self.autocast():
            features = self.network.features(images)
            logits = self.network.classifier(features)
        outputs = Outputs(logits, features, self.network.classifier.weight)
        objective = self.method.objective(
            outputs, labels, progress=done / config.epochs, epoch=epoch, epochs=config.epochs
        )
        self.optimizer.zero_grad()
        objective.backward()
        self.optimizer.step()
        return objective.detach()

    def autocast(self) -> torch.autocast:
        """Mixed precision when the configuration asks for bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")

    def checkpoint(self, epoch: int, row: dict[str, Any]) -> Checkpoint:
        """The network as a checkpoint."""
        return Checkpoint(
            model=self.model,
            data=self.data.record,
            method=self.method.record,
            state_dict={name: tensor.detach().cpu() for name, tensor in self.network.state_dict().items()},
            epoch=epoch,
            metrics=row,
            config=self.config.plain(),
            provenance=self.provenance,
        )


def is_snapshot(epoch: int, epochs: int, count: int) -> bool:
    """Whether `epoch` (from 1) is one of `count` evenly spaced ones, the last included."""
    return count > 0 and epoch * count // epochs > (epoch - 1) * count // epochs


def describe(row: dict[str, Any]) -> str:
    """An epoch in one line: objective and accuracies in percent."""
    parts = [f"epoch {row['epoch']}", f"objective {row['objective']:.3f}"]
    for name in ("validation", "test"):
        if name in row:
            scores = row[name]["accuracy"]
            shown = [f"{key} {100 * scores[key]:.1f}" for key in ("all", "many", "medium", "few") if key in scores]
            parts.append(f"{name} {' '.join(shown)} %")
    return ", ".join(parts)
