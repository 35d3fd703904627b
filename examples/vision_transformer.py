"""A vision transformer, checked before it is measured.

`check` tries in seconds what a measurement takes: here it finds that second derivatives need attention in plain
operations, and what the Hessian will cost. Everything but the last layer's parameters stays frozen, and unmeasured.
"""

import torch
from torchvision.models import VisionTransformer

import landscape

torch.manual_seed(0)
network = VisionTransformer(
    image_size=16, patch_size=8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=16, num_classes=3
)
network.conv_proj.requires_grad_(False)
images, labels = torch.randn(24, 3, 16, 16), torch.arange(24) % 3

print(landscape.check(network, (images, labels)))
subject = landscape.Subject(network, (images, labels))
print(landscape.top_eigenvalues(subject, k=2).of("all"))
