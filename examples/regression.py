"""Regression with inputs in a dictionary, and subsets by an attribute.

Entries of the dictionary reach the network by keyword. A squared error has a Hessian, sharpness and a Gauss-Newton
part like any other loss; there is no accuracy, and none is shown.
"""

import torch
from torch import nn

import landscape


class Price(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.town, self.body = nn.Embedding(4, 3), nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1))

    def forward(self, town: torch.Tensor, size: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([self.town(town), size], 1))[:, 0]


torch.manual_seed(0)
inputs = {"town": torch.randint(0, 4, (40,)), "size": torch.rand(40, 2)}
prices = inputs["size"].sum(1) + inputs["town"] / 4

subject = landscape.Subject(
    Price(), (inputs, prices), loss=lambda outputs, targets: (outputs - targets).square(),
    subsets={"dear": prices > 1.5, "small": inputs["size"][:, 0] < 0.2},
)  # fmt: skip
result = landscape.measure_hessian(subject, settings=landscape.HessianSettings(intervals=False))
print([(c.subset, c.loss, c.top.outermost, c.negative_curvature.verdict) for c in result.curvatures])
