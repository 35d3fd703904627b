"""A class-conditional diffusion loss, measured class by class.

Noise and times are part of the data, drawn once: what is measured must stay the same at every pass. The classes are
masks, for the targets of the loss are the noise.
"""

import torch
from torch import nn

import landscape


class Denoiser(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.label, self.body = nn.Embedding(3, 4), nn.Sequential(nn.Linear(7, 16), nn.SiLU(), nn.Linear(16, 2))

    def forward(self, x: torch.Tensor, time: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.body(torch.cat([x, time[:, None], self.label(label)], 1))


torch.manual_seed(0)
label = torch.repeat_interleave(torch.arange(3), torch.tensor([40, 12, 4]))
clean = torch.randn(len(label), 2) * 0.1 + label[:, None]
noise, time = torch.randn_like(clean), torch.rand(len(label))
noisy = (1 - time[:, None]).sqrt() * clean + time[:, None].sqrt() * noise

subject = landscape.Subject(
    Denoiser(), ({"x": noisy, "time": time, "label": label}, noise),
    loss=lambda outputs, targets: (outputs - targets).square(),
    subsets={name: label == i for i, name in enumerate(["many", "some", "few"])},
)  # fmt: skip
print(landscape.top_eigenvalues(subject).values[:, 0])
