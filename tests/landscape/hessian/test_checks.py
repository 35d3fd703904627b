"""Losses without a symmetric Hessian are refused in one sentence that names the cause."""

import pytest
import torch
from torch import nn

from foundation.errors import LandscapeError
from landscape.hessian.checks import check_symmetry
from landscape.subject.subject import Subject
from tests.landscape.subject.test_subject import samples


class Hooked(nn.Linear):
    def forward(self, inputs):
        logits = super().forward(inputs.flatten(1))
        if logits.requires_grad:
            logits.register_hook(lambda gradient: gradient * logits.flip(1))
        return logits


def test_a_hand_written_gradient_is_named():
    torch.manual_seed(0)
    with pytest.raises(LandscapeError, match="not symmetric"):
        check_symmetry(Subject(Hooked(36, 4), samples(), train_counts=[9, 4, 2, 1]))


class Sawtooth(nn.Module):
    """A straight line folded every 2e-6: right slopes everywhere, and kinks within any step of 1e-5."""

    def __init__(self):
        super().__init__()
        self.layer, self.height = nn.Linear(36, 4), nn.Parameter(torch.tensor(0.5))

    def forward(self, inputs):
        fold, inputs = 2e-6, inputs.flatten(1)
        return self.layer(inputs) + (self.height.remainder(2 * fold) - fold).abs() * inputs[:, :4].exp()


def test_a_network_of_many_kinks_is_no_wrong_gradient():
    torch.manual_seed(0)
    check_symmetry(Subject(Sawtooth(), samples(), train_counts=[9, 4, 2, 1]))


class Once(torch.autograd.Function):
    """Its double backward is an error that `torch.autograd.grad` goes around: what is behind counted as constant."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, gradient):
        return 2 * gradient


class Doubled(nn.Linear):
    def forward(self, inputs):
        return Once.apply(super().forward(inputs.flatten(1)))


def test_a_backward_pass_that_is_differentiable_once_is_refused():
    with pytest.raises(
        LandscapeError, match=r"no second derivative here \(a custom backward pass that is differentiable"
    ):
        check_symmetry(Subject(Doubled(36, 4), samples(), train_counts=[9, 4, 2, 1]))


class Cubed(torch.autograd.Function):
    """Its slope is right and computed with values that autograd does not follow, so that its curvature is zero."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return 3 * x.detach() ** 2 * gradient


class Cubic(nn.Linear):
    def forward(self, inputs):
        return Cubed.apply(super().forward(inputs.flatten(1)))


class Rooted(nn.Linear):
    def forward(self, inputs):
        outputs = super().forward(inputs.flatten(1))
        return (outputs * (outputs > 0)) ** 1.5  # its slope at 0 is 0, its curvature is not


def test_a_curvature_that_is_not_finite_is_named_as_that():
    torch.manual_seed(0)
    with pytest.raises(LandscapeError, match=r"not finite .*add a small constant"):
        check_symmetry(Subject(Rooted(36, 4), samples(), train_counts=[9, 4, 2, 1]))


def test_a_curvature_that_is_cut_in_silence_is_refused():
    torch.manual_seed(0)
    with pytest.raises(LandscapeError, match="not the derivative of their gradient"):
        check_symmetry(Subject(Cubic(36, 4), samples(), train_counts=[9, 4, 2, 1]))


def test_the_check_leaves_the_weights_as_they_were():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
    subject = Subject(network, samples(), train_counts=[9, 4, 2, 1])
    before = subject.vector().clone()
    check_symmetry(subject)
    assert torch.equal(before, subject.vector())
