"""A one-dimensional sequence network, such as reads chromatin states from DNA, with rare states.

Batches of any loader are taken; a shuffling one is read in its data set's own order, each sample once.
"""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import landscape

torch.manual_seed(0)
states = torch.repeat_interleave(torch.arange(4), torch.tensor([24, 12, 6, 3]))
bases = nn.functional.one_hot(torch.randint(0, 4, (len(states), 30)), 4).transpose(1, 2).float()
network = nn.Sequential(
    nn.Conv1d(4, 6, 5), nn.BatchNorm1d(6), nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, 4)
)

loader = DataLoader(TensorDataset(bases, states), batch_size=16, shuffle=True)
subject = landscape.Subject(network, loader, class_names=["quiescent", "promoter", "enhancer", "bivalent"])
print(landscape.measure_sharpness(subject, settings=landscape.SharpnessSettings(draws=4)).describe())
