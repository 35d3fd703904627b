"""An own checkpoint by the command line, without a line of Python around it.

    landscape hessian --network own_network.py:build --weights best.pth --data own_network.py:test_set

Code that is named runs; code inside the file of weights never does.
"""

import contextlib
from pathlib import Path

import torch

from landscape.__main__ import main

CODE = """
import torch
from torch import nn

def build(width=8):
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))

def test_set():
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor([20, 10, 5]))
    return torch.randn(35, 4, generator=torch.Generator().manual_seed(0)) + labels[:, None], labels
"""

Path("own_network.py").write_text(CODE)
scope: dict = {}
exec(CODE, scope)
weights = {f"module.{name}": tensor for name, tensor in scope["build"]().state_dict().items()}  # as DataParallel saves
torch.save({"epoch": 3, "model": weights}, "best.pth")
command = "hessian --network own_network.py:build --weights best.pth --data own_network.py:test_set --device cpu"
with contextlib.suppress(SystemExit):  # by which every command ends
    main([*command.split(), "--subsets", "all,class:2", "--no-intervals", "--out", "own.h5"])
