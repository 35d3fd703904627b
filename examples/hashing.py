"""Hashing for retrieval with a proxy a class: a loss of the user's own on codes, not on logits.

The proxies are parameters beside the network's; a module that holds both is measured, and `forward` gives the cosine
of a code to every proxy.
"""

import torch
from torch import nn
from torch.nn import functional

import landscape


class Hashing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.proxies = nn.Linear(10, 8), nn.Parameter(torch.randn(4, 8))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        codes = torch.tanh(self.encoder(inputs))
        return functional.normalize(codes, dim=1) @ functional.normalize(self.proxies, dim=1).T


torch.manual_seed(0)
labels = torch.repeat_interleave(torch.arange(4), torch.tensor([30, 15, 6, 3]))
inputs = torch.randn(len(labels), 10) + labels[:, None]
subject = landscape.Subject(
    Hashing(), (inputs, labels), loss=lambda cosines, y: functional.cross_entropy(8 * cosines, y, reduction="none")
)
print(landscape.top_eigenvalues(subject).values[:, 0])
