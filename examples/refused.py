"""A network that cannot be measured class by class, and the sentence that says so.

A softmax over the batch mixes its samples: none has a loss of its own, so that a class has none either. It is found
before anything is measured.
"""

import torch
from torch import nn

import landscape
from foundation.errors import LandscapeError


class Competing(nn.Linear):
    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs).softmax(0)


torch.manual_seed(0)
subject = landscape.Subject(Competing(4, 3), (torch.randn(30, 4), torch.arange(30) % 3))
try:
    landscape.top_eigenvalues(subject)
except LandscapeError as error:
    print(error)
