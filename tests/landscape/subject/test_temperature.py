import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape.subject.losses import cross_entropy
from landscape.subject.temperature import matching_temperature, tempered


@given(st.integers(0, 10_000), st.floats(0.0, 1.2))
def test_the_tempered_loss_is_the_target_whenever_one_exists(seed, share):
    generator = torch.Generator().manual_seed(seed)
    logits = 4 * torch.randn(7, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(5, (7,), generator=generator)
    weights = torch.rand(7, generator=generator, dtype=torch.float64)
    weights /= weights.sum()
    now = float((cross_entropy(logits, labels) * weights).sum())
    target = share * math.log(5)
    temperature = matching_temperature(logits, labels, weights, target)
    if now >= target:
        assert temperature == 1.0
    elif target >= math.log(5):
        assert math.isnan(temperature)
    else:
        assert temperature > 1.0
        reached = float((tempered(cross_entropy, temperature)(logits, labels) * weights).sum())
        assert reached == pytest.approx(target, rel=1e-9)
