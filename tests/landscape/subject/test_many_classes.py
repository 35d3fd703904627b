"""Work before the first product grows with the classes, not with their square."""

import sys
from collections.abc import Callable

import pytest
import torch
from torch import nn

from landscape.execution.evaluate import Evaluator
from landscape.hessian.measure import _SharedProbes, work_order
from landscape.hessian.result import HessianSettings
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject


def steps(work: Callable[[], object]) -> int:
    """Lines of this package that run."""
    count = 0

    def trace(frame, event, argument):
        nonlocal count
        if "/landscape/" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


def build(classes: int) -> Subject:
    labels = torch.arange(classes).repeat(2)
    data = TensorSamples(torch.randn(2 * classes, 3, generator=torch.Generator().manual_seed(0)), labels)
    return Subject(nn.Linear(3, classes), data, train_counts=list(range(classes, 0, -1)))


WORK = {
    "subject": build,
    "twins": lambda classes: [of.twin(s) for of in [build(classes)] for s in of.subsets],
    "shared probes": lambda classes: _pool(build(classes)),
    "evaluator": lambda classes: Evaluator(build(classes)).here(),
}


def _pool(of: Subject) -> None:
    pool = _SharedProbes(of, HessianSettings(probes=2))
    for subset in work_order(of):
        pool.needs(subset, {})


@pytest.mark.parametrize("name", WORK)
def test_work_is_linear_in_the_classes(name):
    few, many = (steps(lambda c=classes: WORK[name](c)) for classes in (100, 400))
    assert many < 5 * few


def test_a_subset_is_weighed_as_its_samples_are():
    labels = torch.tensor([0] * 5 + [1] * 3 + [2] * 2)
    data = TensorSamples(torch.randn(10, 3, generator=torch.Generator().manual_seed(0)), labels)
    of = Subject(nn.Linear(3, 4), data, train_counts=[9, 5, 2, 1])
    losses = torch.nn.functional.cross_entropy(of.network(data.data), labels, reduction="none").detach().double()
    found = dict(zip(Evaluator(of).subsets, Evaluator(of).here().loss, strict=True))
    assert found["all"] == pytest.approx(float(losses.mean()), rel=1e-6)
    means = torch.stack([losses[labels == c].mean() for c in range(3)])
    assert found["balanced"] == pytest.approx(float(means.mean()), rel=1e-6)
    assert found["class:2"] == pytest.approx(float(means[2]), rel=1e-6)
