"""What batches cost: our device-resident images beside the usual DataLoader of Pillow images.

The usual recipe is that of most published long-tailed training scripts: a data set of Pillow images, torchvision's
RandomCrop, RandomHorizontalFlip, ToTensor and Normalize one image at a time in worker processes, and a plain loop over
an NCHW network. Network, batch size, optimizer and augmentation are the same on both sides.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from training.config import Config
from training.data import DataSet, Split
from training.methods.method import build_method
from training.models import build_model
from training.trainer import Trainer

BATCH = 64


class PillowImages(Dataset[tuple[Tensor, int]]):
    """A split as the usual scripts hold it: arrays that become Pillow images one by one.

    Args:
        split: The split.
    """

    def __init__(self, split: Split) -> None:
        self._arrays = [image.squeeze(0).numpy() for image in split.pixels(torch.arange(len(split)))]
        self._labels = split.labels.tolist()
        size = self._arrays[0].shape[0]
        steps = [
            transforms.RandomCrop(size, padding=4),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(split.mean, split.std),
        ]
        self._transform = transforms.Compose(steps)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self._transform(Image.fromarray(self._arrays[index])), self._labels[index]


def usual_epoch(data: DataSet, *, model: str, device: torch.device, workers: int) -> Callable[[], None]:
    """One epoch of the usual recipe.

    Args:
        data: What is trained on.
        model: The network's name.
        device: Where.
        workers: Processes that read.

    Returns:
        A function that trains an epoch.
    """
    torch.manual_seed(0)
    network: nn.Module = build_model(model, in_channels=1, classes=len(data.class_names)).to(device)
    optimizer = torch.optim.SGD(network.parameters(), 0.1, momentum=0.9, weight_decay=5e-4)
    loader = DataLoader(
        PillowImages(data.train), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )

    def epoch() -> None:
        network.train()
        for images, labels in loader:
            loss = F.cross_entropy(network(images.to(device)), labels.to(device))
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()

    return epoch


def our_trainer(data: DataSet, *, model: str, device: torch.device) -> Trainer:
    """A trainer of plain cross-entropy with the same crop and flip."""
    config = Config(out=Path("unused"), model=model, augment="crop-flip", batch_size=BATCH)
    return Trainer(config, data, build_method("ce", data.class_counts), device)


def our_epoch(trainer: Trainer) -> None:
    """One epoch of a trainer's steps."""
    trainer.forward.train()
    for index, (batch, mix) in enumerate(trainer.batches(0, seed=0)):
        trainer.step(0, index, batch, mix)


def images_over_dataloader(data: DataSet, *, model: str, device: torch.device, workers: int, turns: int) -> float:
    """Our images per second over the usual recipe's, the median over turns.

    Args:
        data: What is trained on.
        model: The network's name.
        device: Where.
        workers: Processes that read for the usual recipe.
        turns: Epochs of each, taking turns, after one to warm up.

    Returns:
        The ratio; above 1 ours is faster.
    """
    trainer = our_trainer(data, model=model, device=device)
    theirs = usual_epoch(data, model=model, device=device, workers=workers)
    return _time_over(theirs, lambda: our_epoch(trainer), device, turns)


def pipeline_share(data: DataSet, *, model: str, device: torch.device, turns: int) -> float:
    """The share of an epoch that choosing, augmenting and normalizing batches takes, the median over turns.

    Args:
        data: What is trained on.
        model: The network's name.
        device: Where.
        turns: How often both are timed, after one to warm up.

    Returns:
        The share.
    """
    trainer = our_trainer(data, model=model, device=device)

    def batches() -> None:
        for _ in trainer.batches(0, seed=0):
            pass

    return _time_over(batches, lambda: our_epoch(trainer), device, turns)


def wait(device: torch.device) -> None:
    """Waits for the device to finish what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _seconds(work: Callable[[], None], device: torch.device) -> float:
    wait(device)
    started = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - started


def _time_over(work: Callable[[], None], other: Callable[[], None], device: torch.device, turns: int) -> float:
    """The time of one piece of work over another's, the median over turns after one to warm up."""
    ratios = [_seconds(work, device) / _seconds(other, device) for _ in range(turns + 1)]
    return statistics.median(ratios[1:])
