import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from landscape.subject.losses import LossFunction, cross_entropy
from landscape.subject.temperature import WIDEST, matching_temperature, tempered


def brier(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    return (logits.softmax(1) - functional.one_hot(labels, logits.shape[1])).square().sum(1)


def drawn(seed: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(7, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (7,), generator=generator)
    weights = torch.rand(7, generator=generator, dtype=torch.float64)
    return logits, labels, weights / weights.sum()


def mean(loss: LossFunction, temperature: float, logits, labels, weights) -> float:
    return float((tempered(loss, temperature)(logits, labels) * weights).sum())


@settings(deadline=None, max_examples=50)
@given(st.integers(0, 10_000), st.floats(0.0, 2.5), st.sampled_from([cross_entropy, brier]))
def test_the_tempered_loss_is_the_target_whenever_one_exists(seed, target, loss):
    sample = drawn(seed)
    temperature = matching_temperature(loss, *sample, target)
    if mean(loss, 1.0, *sample) >= target:
        assert temperature == 1.0
        return
    log_widest = math.log(WIDEST)
    away = [math.exp(s * log_widest * i / 50) for i in range(51) for s in (1, -1)]
    if math.isnan(temperature):
        assert all(mean(loss, t, *sample) < target + 1e-12 for t in away)
        return
    assert mean(loss, temperature, *sample) == pytest.approx(target, rel=1e-9)
    nearer = [t for t in away if abs(math.log(t)) < abs(math.log(temperature)) - 1e-9]
    assert all(mean(loss, t, *sample) < target for t in nearer)  # none nearer to 1


def test_a_class_that_is_mostly_misclassified_is_lifted_by_a_temperature_below_one():
    """Towards T = ∞ its loss falls to log C; the loss measured, not plain cross-entropy, is what meets the target."""
    logits = torch.tensor([[3.0, 0, 0], [4.0, 1, 0]], dtype=torch.float64)
    labels, weights = torch.tensor([1, 2]), torch.tensor([0.5, 0.5], dtype=torch.float64)
    own = mean(cross_entropy, 1.0, logits, labels, weights)
    assert own > math.log(3)
    temperature = matching_temperature(cross_entropy, logits, labels, weights, own + 1)
    assert temperature < 1
    assert mean(cross_entropy, temperature, logits, labels, weights) == pytest.approx(own + 1, rel=1e-9)
    assert math.isnan(matching_temperature(brier, logits, labels, weights, 2.5))
