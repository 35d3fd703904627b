"""A network being trained: its optimizer, its data on the device, one step and one epoch."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from foundation.errors import LandscapeError
from training.config import Config
from training.data import DataSet
from training.evaluate import evaluate
from training.feed import Resident
from training.losses import Outputs
from training.methods import Method
from training.models import Network, build_model
from training.optimizers import build_stepper
from training.schedules import learning_rate_factor

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}


class Both(nn.Module):
    """A network whose forward pass gives features too: what losses may look at.

    Args:
        network: The network.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """(B, channels, H, W) images to logits (B, C) and features (B, d)."""
        features = self.network.features(images)
        return self.network.classifier(features), features


class Session:
    """Everything that a step needs, on the device.

    Args:
        config: What to train, resolved.
        data: The data set.
        method: How to train.
        device: Where.
    """

    def __init__(self, config: Config, data: DataSet, method: Method, device: torch.device) -> None:
        self.config, self.data, self.method, self.device = config, data, method, device
        torch.manual_seed(config.seed)
        dtype = DTYPES[config.precision]
        channels = data.train.pixels(torch.tensor([0])).shape[1]
        kwargs: dict[str, Any] = {"in_channels": channels, "classes": len(data.class_names), "head": method.head}
        if method.scale is not None:
            kwargs["scale"] = method.scale
        kwargs |= config.model_kwargs
        self.model = {"name": config.model, "kwargs": kwargs}
        network = build_model(config.model, **kwargs).to(device, dtype)
        self.network = network.to(memory_format=torch.channels_last) if config.channels_last else network
        self.forward = Both(self.network)
        self.optimizer = torch.optim.SGD(
            self.network.parameters(), config.lr, momentum=config.momentum, weight_decay=config.weight_decay or 0.0
        )
        self.stepper = build_stepper(method, self.optimizer, self.forward)
        self.feeds = {
            name: Resident(split, device, dtype=dtype, channels_last=config.channels_last)
            for name, split in (("train", data.train), ("validation", data.validation), ("test", data.test))
            if len(split)
        }
        self.steps_per_epoch = -(-len(data.train) // config.batch_size)

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
        self.forward.train()
        total = torch.zeros((), device=self.device)
        for index, indices in enumerate(order.tensor_split(self.steps_per_epoch)):
            total += self.step(epoch, index, indices) * len(indices)
        objective = float(total) / len(order)
        if objective - objective != 0:  # infinite or not a number
            raise LandscapeError(
                f"training diverged in epoch {epoch + 1}: the objective is {objective}; try a lower --lr than "
                f"{self.config.lr:g}"
            )
        row = {"epoch": epoch + 1, "objective": objective, "lr": self.optimizer.param_groups[0]["lr"]}
        trained = time.monotonic()
        scores = self.scores(
            everything=epoch + 1 == self.config.epochs or (epoch + 1) % self.config.evaluate_every == 0
        )
        seconds = {"train": round(trained - started, 3), "evaluate": round(time.monotonic() - trained, 3)}
        return {**row, **scores, "seconds": seconds}

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
        here = epoch + index / self.steps_per_epoch
        factor = learning_rate_factor(
            config.schedule, here + 0.5 / self.steps_per_epoch, epochs=config.epochs, warmup=config.warmup
        )
        for group in self.optimizer.param_groups:
            group["lr"] = config.lr * factor
        progress = here / config.epochs
        images, labels = self.feeds["train"].batch(indices)

        def losses(*objectives: Callable[..., Tensor]) -> Iterator[tuple[Tensor, ...]]:
            with self.autocast():
                logits, features = self.forward(images)
            outputs = Outputs(logits, features, self.network.classifier.weight)
            yield tuple(
                objective(outputs, labels, progress=progress, epoch=epoch, epochs=config.epochs)
                for objective in objectives or (self.method.objective,)
            )

        return self.stepper.step(losses, progress=progress)

    def scores(self, *, everything: bool) -> dict[str, Any]:
        """Loss and accuracy on the validation split, and on training and test images if `everything` is wanted."""
        wanted = ("validation", "train", "test") if everything else ("validation",)
        with self.autocast():
            return {
                name: evaluate(self.network, self.feeds[name].evaluation(), self.data.class_counts)
                for name in wanted
                if name in self.feeds
            }

    def autocast(self) -> torch.autocast:
        """Mixed precision when the configuration asks for bfloat16."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16")
