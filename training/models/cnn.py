"""The small network for minutes on a CPU: three conv–BN–ReLU blocks, 53 k parameters on 28×28 grey images."""

from __future__ import annotations

from torch import Tensor, nn

from foundation.errors import one_of
from training.models.heads import classifier

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU}
WIDTHS = (24, 48, 96)


class CNN(nn.Module):
    """Three 3×3 convolutions of growing width, 2×2 max-pooling between them, a global average at the end.

    Args:
        in_channels: Channels of the images.
        classes: C.
        widths: Channels of the three blocks; the last is d.
        activation: `"relu"`, or `"gelu"` where the loss should have second derivatives everywhere.
        batch_norm: False leaves the normalisation out.
        head: `"linear"` or `"cosine"`.
        scale: s of the cosine classifier.

    Raises:
        InputError: The activation or head is unknown.
    """

    def __init__(
        self,
        *,
        in_channels: int = 1,
        classes: int = 10,
        widths: tuple[int, ...] = WIDTHS,
        activation: str = "relu",
        batch_norm: bool = True,
        head: str = "linear",
        scale: float = 30.0,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise one_of("activation", activation, ACTIVATIONS)
        layers: list[nn.Module] = []
        for position, (before, width) in enumerate(zip((in_channels, *widths), widths, strict=False)):
            layers.append(nn.Conv2d(before, width, 3, padding=1, bias=not batch_norm))
            if batch_norm:
                layers.append(nn.BatchNorm2d(width))
            layers.append(ACTIVATIONS[activation]())
            if position < len(widths) - 1:
                layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers)
        self.classifier = classifier(head, widths[-1], classes, scale=scale)

    def features(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) images to (B, d) features."""
        return self.body(images).mean(dim=(2, 3))

    def forward(self, images: Tensor) -> Tensor:
        """(B, in_channels, H, W) images to (B, C) inference logits."""
        return self.classifier(self.features(images))
