"""Layers read off an autograd graph, and the norms of samples' gradients that they give."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape.hessian.estimators.multiaffine import multiaffine_layers
from tests.landscape.hessian.oracle import network


def test_batch_norms_in_training_mode_mix_samples():
    net = network(activation=nn.ReLU).train()
    inputs = torch.randn(3, 1, 6, 6)
    assert multiaffine_layers(net(inputs), list(net.parameters())) is None
    assert multiaffine_layers(net.eval()(inputs), list(net.parameters())) is not None


@settings(deadline=None, max_examples=60)
@given(
    kernel=st.integers(1, 3),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2, 4]),
    side=st.integers(5, 8),
    seed=st.integers(0, 1000),
)
def test_norms_of_any_convolution_are_those_of_its_samples_gradients(
    kernel, stride, padding, dilation, groups, side, seed
):
    torch.manual_seed(seed)
    layer = nn.Conv2d(4, 8, kernel, stride, padding, dilation, groups).double()
    inputs = torch.randn(3, 4, side, side, dtype=torch.float64)
    outputs = layer(inputs)
    weights = torch.randn_like(outputs)
    (found,) = multiaffine_layers(outputs.flatten(1), list(layer.parameters()))
    parameters = list(layer.parameters())
    exact = []
    for x, w in zip(inputs, weights, strict=True):
        gradients = torch.autograd.grad((layer(x[None]) * w).sum(), parameters)
        scales = (torch.ones_like, torch.square)
        exact.append(
            [sum((g.square() * s(p)).sum() for g, p in zip(gradients, parameters, strict=True)).item() for s in scales]
        )
    norms, kept = found.norms()
    torch.testing.assert_close(norms(weights), torch.tensor(exact, dtype=torch.float64).T, rtol=1e-11, atol=0)
    assert kept > 0
