"""Mixed images: mixup, and CutMix that pastes rare classes into common ones."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from training.methods.parts import Mixing


class Mixer:
    """Mixes the images of a batch with others.

    mixup (Zhang et al., ICLR 2018) blends a batch with itself in another order, by a share λ ~ Beta(α, α). CMO (Park et
    al., "The Majority Can Help the Minority", CVPR 2022) pastes a patch of a class-balanced draw into each image, for a
    share of the batches, and rests in the first and last epochs.

    Args:
        mixing: What the method asks for: `mixup` with `alpha`, or `cmo` with `probability`, `alpha` and
            `unmixed_epochs`.
        epochs: Epochs in all.
    """

    def __init__(self, mixing: Mixing, *, epochs: int) -> None:
        self._name, self._kwargs, self._epochs = mixing.name, mixing.kwargs, epochs

    def pastes(self, epoch: int) -> bool:
        """Whether batches of this epoch (from 0) need a second, class-balanced draw to paste from."""
        unmixed = self._kwargs.get("unmixed_epochs", 0)
        return self._name == "cmo" and unmixed <= epoch < self._epochs - unmixed

    def mix(
        self, images: Tensor, labels: Tensor, others: tuple[Tensor, Tensor] | None, random: np.random.RandomState
    ) -> tuple[Tensor, tuple[Tensor, float] | None]:
        """Mixes one batch.

        Args:
            images: (B, C, H, W).
            labels: (B,).
            others: For CMO the images and labels to paste from, of the same shapes; None in epochs without mixing.
            random: Where the draws come from.

        Returns:
            The images, and the other labels with the share of the first ones; None where nothing was mixed.
        """
        if self._name == "mixup":
            share = float(random.beta(self._kwargs["alpha"], self._kwargs["alpha"]))
            # A copy that does not wait: indexing by a NumPy array would make a GPU wait at every step.
            partner = torch.from_numpy(random.permutation(len(labels))).to(labels.device, non_blocking=True)
            return images.mul(share).add_(images[partner], alpha=1 - share), (labels[partner], share)
        if others is None or random.rand() >= self._kwargs["probability"]:
            return images, None
        share = float(random.beta(self._kwargs["alpha"], self._kwargs["alpha"]))
        height, width = images.shape[2:]
        top, bottom, left, right = patch(height, width, share, random)
        images = images.clone()
        images[:, :, top:bottom, left:right] = others[0][:, :, top:bottom, left:right]
        return images, (others[1], 1 - (bottom - top) * (right - left) / (height * width))


def patch(height: int, width: int, share: float, random: np.random.RandomState) -> tuple[int, int, int, int]:
    """A random rectangle of about 1 - share of an image (Yun et al., CutMix, ICCV 2019, eq. 2), cut at its border.

    Args:
        height: Of the image.
        width: Of the image.
        share: λ, what should stay of the image.
        random: Where the center comes from.

    Returns:
        Top, bottom, left and right; the ends are excluded.
    """
    side = (1 - share) ** 0.5
    tall, wide = int(height * side), int(width * side)
    y, x = random.randint(height), random.randint(width)
    return max(y - tall // 2, 0), min(y + tall // 2, height), max(x - wide // 2, 0), min(x + wide // 2, width)
