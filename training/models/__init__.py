"""Networks by name: `build_model("cnn", in_channels=1, classes=10)`.

Every network has `features(x) -> (B, d)`, a `classifier` with `.weight` (C, d), and
`forward(x) == classifier(features(x))`: the inference logits (B, C).
"""

from training.models.heads import Classifier, Cosine
from training.models.network import Network
from training.models.registry import MODELS, build_model

__all__ = ["MODELS", "Classifier", "Cosine", "Network", "build_model"]
