"""What training and measuring ask of every network."""

from __future__ import annotations

from torch import Tensor, nn

from training.models.heads import Classifier, classifier


class Network(nn.Module):
    """A body that makes features and a classifier that makes logits of them.

    Args:
        body: (B, channels, H, W) images to (B, d) features.
        features: d.
        classes: C.
        head: `"linear"` or `"cosine"`.
        scale: s of the cosine classifier.
    """

    def __init__(
        self, body: nn.Module, features: int, classes: int, *, head: str = "linear", scale: float = 30.0
    ) -> None:
        super().__init__()
        self.body = body
        self.classifier: Classifier = classifier(head, features, classes, scale=scale)

    def features(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) images to (B, d) features."""
        features: Tensor = self.body(images)
        return features

    def forward(self, images: Tensor) -> Tensor:
        """(B, channels, H, W) images to (B, C) inference logits: a cosine scale is in them, no margin, no prior."""
        logits: Tensor = self.classifier(self.features(images))
        return logits
