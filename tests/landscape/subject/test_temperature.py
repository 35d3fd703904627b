import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from landscape.schema import side_of
from landscape.subject.losses import LossFunction, cross_entropy
from landscape.subject.temperature import WIDEST, matching_temperature, slope_of, tempered


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


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 10_000), st.floats(0.0, 2.5), st.sampled_from([cross_entropy, brier]), st.sampled_from([1, 0, -1])
)
def test_the_tempered_loss_is_the_target_on_the_side_asked_for(seed, target, loss, side):
    sample = drawn(seed)
    temperature = matching_temperature(loss, *sample, target, side)
    if mean(loss, 1.0, *sample) >= target:
        assert temperature == 1.0
        return
    logs = [math.log(WIDEST) * i / 100 for i in range(-100, 101)]
    above = [mean(loss, math.exp(at), *sample) >= target for at in logs]
    crossed = {1: 0, -1: 0}
    for before, after in itertools.pairwise(above):
        crossed[1 if after else -1] += before != after
    if math.isnan(temperature):
        assert all(crossed[sign] != 1 for sign in (1, -1) if side in (0, sign))
        return
    assert mean(loss, temperature, *sample) == pytest.approx(target, rel=1e-9)
    rises = mean(loss, 1.0001 * temperature, *sample) > target
    assert side in (0, 1 if rises else -1)
    assert crossed[1 if rises else -1] == 1


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.floats(-4, 4))
def test_a_copy_with_other_logits_is_met_at_its_own_temperature(seed, log_scale):
    """Whichever has the lower loss, and on whichever side of the lowest loss the other stands."""
    logits, labels, weights = drawn(seed)
    pair = [(logits, labels, weights), (math.exp(log_scale) * logits, labels, weights)]
    losses = [mean(cross_entropy, 1.0, *sample) for sample in pair]
    lower = losses.index(min(losses))
    higher = pair[1 - lower]
    slope = float((slope_of(cross_entropy)(*higher[:2]) * weights).sum())
    side = side_of(slope, losses[1 - lower])
    found = matching_temperature(cross_entropy, *pair[lower], max(losses), side)
    if abs(slope) > 0.05 and abs(losses[0] - losses[1]) > 1e-6:
        assert math.log(found) == pytest.approx(-log_scale if lower == 0 else log_scale, abs=1e-6)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10_000), st.sampled_from([cross_entropy, brier]), st.floats(0.3, 3))
def test_the_slope_is_that_of_automatic_differentiation(seed, loss, temperature):
    logits, labels, weights = drawn(seed)
    log_t = torch.tensor(math.log(temperature), dtype=torch.float64, requires_grad=True)
    (loss(logits / log_t.exp(), labels) * weights).sum().backward()
    slope = (slope_of(tempered(loss, temperature))(logits, labels) * weights).sum()
    assert float(slope) == pytest.approx(float(log_t.grad), rel=1e-5, abs=1e-9)
    single = (slope_of(tempered(loss, temperature), torch.float32)(logits, labels).double() * weights).sum()
    assert float(single) == pytest.approx(float(log_t.grad), abs=1e-2)


def test_a_target_that_is_met_twice_on_one_side_is_met_nowhere():
    """A loss that is not convex in 1/T: its second valley would be another network's."""
    logits, labels, weights = torch.ones(1, 2, dtype=torch.float64), torch.zeros(1).long(), torch.ones(1).double()

    def valleys(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        return 1 - torch.cos(2 * outputs[:, 0].log())

    assert math.isnan(matching_temperature(valleys, logits, labels, weights, 1.0, 1))
    assert math.isnan(matching_temperature(valleys, logits, labels, weights, 1.0, 0))


def test_the_side_of_the_lowest_loss_is_either():
    assert [side_of(slope, 1.0) for slope in (0.5, 2e-3, 5e-4, 0.0, -5e-4, -0.5)] == [1, 1, 0, 0, 0, -1]
    assert side_of(0.0, 0.0) == 0


def test_a_class_that_is_mostly_misclassified_is_lifted_by_a_temperature_below_one():
    """Towards T = ∞ its loss falls to log C; the loss measured, not plain cross-entropy, is what meets the target."""
    logits = torch.tensor([[3.0, 0, 0], [4.0, 1, 0]], dtype=torch.float64)
    labels, weights = torch.tensor([1, 2]), torch.tensor([0.5, 0.5], dtype=torch.float64)
    own = mean(cross_entropy, 1.0, logits, labels, weights)
    assert own > math.log(3)
    temperature = matching_temperature(cross_entropy, logits, labels, weights, own + 1, -1)
    assert temperature < 1
    assert mean(cross_entropy, temperature, logits, labels, weights) == pytest.approx(own + 1, rel=1e-9)
    assert math.isnan(matching_temperature(cross_entropy, logits, labels, weights, own + 1, 1))
    assert math.isnan(matching_temperature(brier, logits, labels, weights, 2.5, -1))
