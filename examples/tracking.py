"""The landscape along training, in a plain loop.

A tracker measures a few samples of each class now and then, for a tenth of the training time at most; here it may take
more, since this training is over in a moment. `track.h5` goes into a page as it is.
"""

import torch
from torch import nn
from torch.nn import functional

import landscape

torch.manual_seed(0)
labels = torch.repeat_interleave(torch.arange(3), torch.tensor([120, 40, 10]))
images = torch.randn(170, 8) + labels[:, None]
network = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3))
optimizer = torch.optim.SGD(network.parameters(), lr=0.1)

few = torch.cat([torch.nonzero(labels == c)[:10, 0] for c in range(3)])
data, subsets = (images[few], labels[few]), ["all", "class:0", "class:2"]
tracker = landscape.Tracker(data, every=20, subsets=subsets, out="track.h5", budget=1000.0)
for _ in range(60):
    optimizer.zero_grad()
    functional.cross_entropy(network(images), labels).backward()
    optimizer.step()
    tracker.step(network)

print(tracker.track.to_xarray()[["step", "loss", "top"]].to_dataframe())
landscape.write_report(["track.h5"], "report.html")
