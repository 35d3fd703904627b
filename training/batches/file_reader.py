"""Reading image files in worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Sampler

from foundation.errors import InputError
from training.data import Split
from training.data.files import FileStore, to_tensor

Item = tuple[str, int, int | None]  # a split, a position in it, and the seed of an augmentation, None for none


class Files(Dataset[tuple[Tensor | str, int]]):
    """Images of several splits, decoded and augmented one by one; a broken one gives its sentence instead of pixels.

    Args:
        splits: By name; their stores hold files.
        augment: Changes an image, or None where training images are resized and cropped as the evaluation's are.
    """

    def __init__(self, splits: Mapping[str, Split], augment: nn.Module | None) -> None:
        self._splits, self._augment = splits, augment

    def __getitem__(self, item: Item) -> tuple[Tensor | str, int]:
        name, position, seed = item
        split = self._splits[name]
        store = cast(FileStore, split.store)
        place, label = int(split.indices[position]), int(split.labels[position])
        try:
            if self._augment is None or seed is None:
                return store.evaluated(place), label
            image = store.read(place)
        except InputError as error:  # an exception would arrive with the worker's whole traceback
            return str(error), label
        with torch.random.fork_rng([]):  # torchvision draws from the global generator
            torch.manual_seed(seed)
            return to_tensor(self._augment(image)), label  # cropped first: files are larger than what is trained on


class Order(Sampler[list[Item]]):
    """Batches that are set anew before each epoch, so that worker processes can stay."""

    def __init__(self) -> None:
        self.batches: list[list[Item]] = []

    def __iter__(self) -> Iterator[list[Item]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


class Reader:
    """Reads batches of all splits ahead of their use, in one set of worker processes that stay until `close`.

    Args:
        splits: By name; their stores hold files.
        augment: Changes a training image, or None for the evaluation's resize and crop.
        workers: How many processes read, whatever they read; 0 reads in this one.
        pinned: Keep batches in memory that a GPU can fetch from by itself.
    """

    def __init__(self, splits: Mapping[str, Split], augment: nn.Module | None, *, workers: int, pinned: bool) -> None:
        self._files = Files(splits, augment)
        self._workers, self._pinned = workers, pinned
        self._order = Order()
        self._loader: DataLoader[tuple[Tensor | str, int]] | None = None

    def close(self) -> None:
        """Ends the worker processes; the next reading begins with new ones."""
        self._loader = None

    def _opened(self) -> DataLoader[tuple[Tensor | str, int]]:
        if self._loader is None:
            self._loader = DataLoader(
                self._files,
                batch_sampler=self._order,
                num_workers=self._workers,
                collate_fn=collate,
                pin_memory=self._pinned,
                persistent_workers=self._workers > 0,
                generator=torch.Generator(),  # else each epoch takes a number from the caller's global generator
            )
        return self._loader

    def read(self, split: str, orders: Sequence[Tensor], *, seed: int | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Reads batches in order.

        Args:
            split: Which one.
            orders: Positions in the split, (b,) each.
            seed: With an image's place in the epoch it decides the image's augmentation, whichever process reads it;
                None reads images as they are evaluated.

        Yields:
            Pixels (b, 3, H, W) uint8 and labels (b,).

        Raises:
            InputError: An image cannot be read; the sentence names it.
        """
        place = 0
        batches: list[list[Item]] = []
        for order in orders:
            seeds = [None if seed is None else seed + 7_919 * (place + k) for k in range(len(order))]
            batches.append([(split, *item) for item in zip(order.tolist(), seeds, strict=True)])
            place += len(order)
        self._order.batches = batches
        for pixels, labels in self._opened():
            if isinstance(pixels, str):
                raise InputError(pixels)
            yield pixels, labels


def collate(items: Sequence[tuple[Tensor | str, int]]) -> tuple[Tensor | str, Tensor]:
    """A batch, or the first sentence about a broken image in it."""
    labels = torch.tensor([label for _, label in items])
    images = []
    for image, _ in items:
        if isinstance(image, str):
            return image, labels
        images.append(image)
    return torch.stack(images), labels
