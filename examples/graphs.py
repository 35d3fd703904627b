"""Graph classification in plain tensors: nodes and adjacency by position.

A sample is one graph of at most eight nodes, padded; two tensors in a tuple reach the network as two arguments.
"""

import torch
from torch import nn

import landscape


class Graphs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(3, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, nodes: torch.Tensor, adjacency: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(adjacency @ self.first(nodes))
        return self.head(torch.tanh(adjacency @ self.second(hidden)).mean(1))


torch.manual_seed(0)
labels = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 10, 5]))
adjacency = (torch.rand(35, 8, 8) < (0.2 + 0.2 * labels)[:, None, None]).float()
adjacency = (adjacency + adjacency.mT).clamp(max=1) / 8
subject = landscape.Subject(Graphs(), ((torch.randn(35, 8, 3), adjacency), labels))
print(landscape.top_eigenvalues(subject).values[:, 0])
