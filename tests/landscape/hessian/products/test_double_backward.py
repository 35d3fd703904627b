"""The second derivatives of `twice` are those of PyTorch's own operations."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from landscape.hessian.products.double_backward import convolution, rectify

CASES = {
    "plain": ((3, 4, 6, 6), (5, 4, 3, 3), ([1, 1], [1, 1], [1, 1], 1)),
    "strided": ((3, 4, 7, 7), (5, 4, 3, 3), ([2, 2], [1, 0], [1, 1], 1)),
    "dilated": ((2, 4, 9, 9), (5, 4, 3, 3), ([1, 2], [2, 2], [2, 2], 1)),
    "grouped": ((3, 4, 6, 6), (6, 2, 3, 3), ([1, 1], [1, 1], [1, 1], 2)),
    "depthwise": ((3, 4, 6, 6), (4, 1, 3, 3), ([1, 1], [1, 1], [1, 1], 4)),
    "pointwise": ((3, 4, 5, 5), (6, 4, 1, 1), ([2, 2], [0, 0], [1, 1], 1)),
    "one dimension": ((3, 4, 9), (5, 4, 3), ([1], [1], [1], 1)),
}


def second(function, tensors):
    """All first gradients and all second ones along fixed directions."""
    output = function(*tensors)
    generator = torch.Generator().manual_seed(1)
    target = torch.randn(output.shape, generator=generator, dtype=output.dtype)
    wanted = [t for t in tensors if t is not None and t.requires_grad]
    first = torch.autograd.grad((output.tanh() * target).sum(), wanted, create_graph=True)
    inner = sum((g * torch.randn(g.shape, generator=generator, dtype=g.dtype)).sum() for g in first)
    return [*first, *torch.autograd.grad(inner, wanted)]


@pytest.mark.parametrize("inputs_need_gradients", [True, False])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_convolution(case, biased, inputs_need_gradients):
    shape, weight_shape, geometry = CASES[case]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=inputs_need_gradients)
    weight = torch.randn(weight_shape, generator=generator, dtype=torch.float64, requires_grad=True)
    bias = torch.randn(weight_shape[0], generator=generator, dtype=torch.float64, requires_grad=True)
    tensors = [x, weight, bias if biased else None]
    stride, padding, dilation, groups = geometry
    plain = functional.conv1d if len(stride) == 1 else functional.conv2d
    ours = second(lambda x, w, b: convolution(x, w, b, geometry), tensors)
    theirs = second(lambda x, w, b: plain(x, w, b, stride, padding, dilation, groups), tensors)
    for ours_each, theirs_each in zip(ours, theirs, strict=True):
        torch.testing.assert_close(ours_each, theirs_each, rtol=1e-12, atol=1e-12)


def test_a_bias_alone_is_differentiated_twice():
    weight = torch.ones(2, 1, 3, 3, dtype=torch.float64)
    bias = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    x = torch.ones(1, 1, 4, 4, dtype=torch.float64)
    geometry = ([1, 1], [1, 1], [1, 1], 1)
    ours = second(lambda x, w, b: convolution(x, w, b, geometry), [x, weight, bias])
    theirs = second(lambda x, w, b: functional.conv2d(x, w, b, padding=1), [x, weight, bias])
    for ours_each, theirs_each in zip(ours, theirs, strict=True):
        torch.testing.assert_close(ours_each, theirs_each)


def test_rectifier():
    x = torch.tensor([-1.0, 0.0, 2.0, float("inf")], dtype=torch.float64, requires_grad=True)
    assert rectify(x[:3]).tolist() == [0.0, 0.0, 2.0]
    ours = second(lambda t: rectify(t**2 - 1), [x[:3].detach().requires_grad_()])
    theirs = second(lambda t: torch.relu(t**2 - 1), [x[:3].detach().requires_grad_()])
    for ours_each, theirs_each in zip(ours, theirs, strict=True):
        torch.testing.assert_close(ours_each, theirs_each)
