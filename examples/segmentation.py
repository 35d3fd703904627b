"""Segmentation: a target for every pixel, and a network that answers with a dictionary.

`forward` says which tensor of the answer is meant. An unreduced loss of pixels is averaged over each image; images that
show the rare class are a subset.
"""

import torch
from torch import nn
from torch.nn import functional

import landscape


class Segmenter(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 3, 1)

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"out": self.head(torch.tanh(self.body(images)))}


torch.manual_seed(0)
images = torch.randn(20, 1, 8, 8)
masks = (images[:, 0] > 0).long() + (images[:, 0] > 2.5).long()  # 2 is rare

subject = landscape.Subject(
    Segmenter(), (images, masks),
    loss=lambda logits, targets: functional.cross_entropy(logits, targets, reduction="none"),
    forward=lambda network, inputs: network(inputs)["out"],
    accuracy=lambda logits, targets: (logits.argmax(1) == targets).float().mean((1, 2)),
    subsets={"with rare pixels": (masks == 2).flatten(1).any(1)},
)  # fmt: skip
print(landscape.top_eigenvalues(subject, k=2).values)
