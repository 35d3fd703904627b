"""A language model: a target for every token, and sentences with rare words as a subset.

The loss of a sentence is the mean over its tokens. Fused attention has no second derivative; products run it in plain
operations by themselves.
"""

import torch
from torch import nn
from torch.nn import functional

import landscape


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.head = nn.Embedding(12, 8), nn.Linear(8, 12)
        self.block = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation="gelu", batch_first=True)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1], dtype=self.head.weight.dtype)
        return self.head(self.block(self.words(tokens), src_mask=mask))


torch.manual_seed(0)
sentences = (torch.randn(30, 7).abs() * 4).long().clamp(max=11)
tokens, following = sentences[:, :-1], sentences[:, 1:]
subject = landscape.Subject(
    Model(), (tokens, following), subsets={"rare words": (following > 8).any(1)},
    loss=lambda z, y: functional.cross_entropy(z.transpose(1, 2), y, reduction="none"),
)  # fmt: skip
print(landscape.top_eigenvalues(subject).values[:, 0])
