"""The plain routes that ours are timed against say the same."""

import pytest
import torch
from torch import nn

from benchmarks.routes import default_command, jet_vs_nested
from tests.landscape.hessian.oracle import subject


def test_both_routes_of_the_command_agree():
    ours, plain, difference = default_command(subject(torch.float32, activation=nn.ReLU, subsets=["class:1", "few"]))
    assert ours > 0 and plain > 0 and difference < 1e-3


@pytest.mark.filterwarnings("ignore:`torch.jit.script`:FutureWarning")  # PyTorch's forward mode scripts its own rules
def test_taylor_passes_and_nested_forward_mode_agree():
    ours, nested = jet_vs_nested(subject(torch.float64), 1)  # it raises where they do not
    assert ours > 0 and nested > 0
