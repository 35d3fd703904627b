"""Multi-label text: a sample has several labels, and subsets overlap.

The loss is a binary cross-entropy of every label; each label's own samples are a subset by a mask. Overlapping subsets
are no partition, so that there is no `balanced`: each has its own mean.
"""

import torch
from torch import nn
from torch.nn import functional

import landscape

torch.manual_seed(0)
tokens = torch.randint(0, 50, (60, 12))
topics = torch.stack([(tokens < most).any(1) for most in (8, 3, 1)], 1).float()  # from frequent to rare
network = nn.Sequential(nn.EmbeddingBag(50, 8, mode="mean"), nn.Tanh(), nn.Linear(8, 3))


def loss(logits, targets):
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


masks = {name: topics[:, i] > 0 for i, name in enumerate(["sports", "chess", "xiangqi"])}
subject = landscape.Subject(
    network, (tokens, topics), loss=loss, subsets=masks,
    accuracy=lambda logits, targets: ((logits > 0) == (targets > 0)).float().mean(1),
)  # fmt: skip
found = landscape.top_eigenvalues(subject)
for name, value in zip(found.subset, found.values[:, 0], strict=True):
    print(f"{name:<10}{value:.4g}")
