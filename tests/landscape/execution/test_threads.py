"""The suite runs on one thread a process; here samples pass through a network on several."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from landscape.execution.evaluate import evaluate
from landscape.execution.gradient import loss_and_gradient
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject


@pytest.fixture(params=[1, 2, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield request.param
    torch.set_num_threads(before)


def make_subject():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.GELU(), nn.Flatten(), nn.Linear(108, 3)).eval()
    samples = TensorSamples(torch.randn(37, 1, 8, 8), torch.tensor([0] * 21 + [1] * 11 + [2] * 5))
    return Subject(network, samples, train_counts=[21, 11, 5], dtype=torch.float64)


def test_losses_are_the_same_on_any_number_of_threads(threads):
    subject = make_subject()
    with torch.no_grad():
        losses = nn.functional.cross_entropy(subject.network(subject.inputs(slice(0, 37))), subject.labels,
                                             reduction="none")  # fmt: skip
    measured = evaluate(subject)
    for subset, loss in zip(subject.subsets, measured.loss, strict=True):
        expected = losses[subject.rows(subset)] @ subject.weights(subset).double()
        assert float(loss) == pytest.approx(float(expected), rel=1e-12)
    assert torch.get_num_threads() == threads


def test_gradients_are_the_same_on_any_number_of_threads(threads):
    subject = make_subject()
    subset = next(s for s in subject.subsets if s.name == "all")
    parameters = {name: value.detach().clone().requires_grad_() for name, value in subject.parameters.items()}
    outputs = functional_call(subject.network, parameters, (subject.inputs(slice(0, 37)),))
    expected = nn.functional.cross_entropy(outputs, subject.labels)
    slopes = torch.cat([g.reshape(-1) for g in torch.autograd.grad(expected, list(parameters.values()))])
    loss, gradient = loss_and_gradient(subject, subject.batches(subset, 5), subject.vector())
    assert loss == pytest.approx(float(expected.detach()), rel=1e-12)
    torch.testing.assert_close(gradient, slopes, rtol=1e-10, atol=1e-12)
    assert torch.get_num_threads() == threads
