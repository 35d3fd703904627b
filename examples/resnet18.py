"""A torchvision ResNet-18, class by class, into one page.

Three lines measure any classifier: a subject from network and data, `measure`, `write_report`. Only the last block and
the head are measured here, by globs of their names, which keeps it short.
"""

import torch
import torchvision

import landscape

torch.manual_seed(0)
network = torchvision.models.resnet18(num_classes=3)
labels = torch.repeat_interleave(torch.arange(3), torch.tensor([16, 8, 4]))
images = torch.randn(len(labels), 3, 32, 32) + labels[:, None, None, None] / 2

subject = landscape.Subject(network, (images, labels), class_names=["cat", "dog", "owl"], params=["fc.*"])
settings = landscape.HessianSettings(top=2, intervals=False)
landscape.measure(subject, "resnet18.h5", hessian=settings)
landscape.write_report(["resnet18.h5"], "resnet18.html")
print(landscape.top_eigenvalues(subject).values[:, 0])
