"""Images in files: too many for the memory, read when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from foundation.errors import InputError
from foundation.progress import Progress
from training.data.image_store import fingerprint

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm", ".tif", ".tiff")


@dataclass(frozen=True)
class FileStore:
    """Labeled image files.

    Attributes:
        root: The folder that the names start from.
        names: (N,) paths below `root`.
        labels: (N,) int64.
        size: Pixels of the square that a network sees; the shorter side is first brought to 256/224 of it.
    """

    root: Path
    names: tuple[str, ...] = field(repr=False)
    labels: Tensor = field(repr=False)
    size: int

    def read(self, position: int) -> Image.Image:
        """One image, decoded.

        Args:
            position: In the store.

        Returns:
            The image in RGB.

        Raises:
            InputError: It is missing or broken; the sentence names it.
        """
        path = self.root / self.names[position]
        try:
            with Image.open(path) as image:
                return image.convert("RGB")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise InputError(
                f"image {path} cannot be read ({error}): mend it, or leave such images out with "
                "--data-kwargs skip_broken=true"
            ) from None

    def evaluated(self, position: int) -> Tensor:
        """One image as a network is evaluated on it: resized, its center cut out.

        Args:
            position: In the store.

        Returns:
            (3, size, size) uint8.
        """
        image = self.read(position)
        shorter = round(self.size * 256 / 224)
        width, height = image.size
        scale = shorter / min(width, height)
        image = image.resize((max(round(width * scale), shorter), max(round(height * scale), shorter)), 2)
        left, top = (image.width - self.size) // 2, (image.height - self.size) // 2
        return to_tensor(image.crop((left, top, left + self.size, top + self.size)))

    def pixels(self, indices: Tensor) -> Tensor:
        """See `ImageStore.pixels`."""
        return torch.stack([self.evaluated(position) for position in indices.tolist()])

    def fingerprint(self, indices: Tensor) -> str:
        """The SHA-256 of positions, labels and file names."""
        names = [self.names[position] for position in indices.tolist()]
        return fingerprint(indices, self.labels[indices], names)

    def without(self, names: Sequence[str]) -> FileStore:
        """The store without some of its files."""
        left_out = set(names)
        keep = [position for position, name in enumerate(self.names) if name not in left_out]
        return FileStore(self.root, tuple(self.names[p] for p in keep), self.labels[torch.tensor(keep)], self.size)

    def broken(self) -> list[str]:
        """The names of the files that cannot be read; every one is tried."""

        def name_if_broken(position: int) -> str | None:
            try:
                self.read(position)
            except InputError:
                return self.names[position]
            return None

        with ThreadPoolExecutor() as threads, Progress("checking images", len(self.names), "image") as progress:
            found = []
            for name in threads.map(name_if_broken, range(len(self.names))):
                progress.advance()
                if name is not None:
                    found.append(name)
        return found


def to_tensor(image: Image.Image) -> Tensor:
    """An RGB image as (3, H, W) uint8."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).contiguous()


def leave_out(stores: Sequence[FileStore], skip_broken: bool | list[str]) -> tuple[list[FileStore], list[str]]:
    """The stores without their broken files.

    Args:
        stores: Pools of one root.
        skip_broken: False leaves all in, True tries every file, a list names the files to leave out.

    Returns:
        The stores, and the names of what is left out.
    """
    if not skip_broken:
        return list(stores), []
    names = [name for store in stores for name in store.broken()] if skip_broken is True else skip_broken
    return [store.without(names) for store in stores], names
