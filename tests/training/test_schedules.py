"""Learning-rate schedules against their formulas."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from foundation.errors import InputError
from training.schedules import SCHEDULES, learning_rate_factor


def test_a_cosine_after_the_warm_up():
    at = {e: learning_rate_factor("cosine", e, epochs=25, warmup=5) for e in (0, 2.5, 5, 10, 15, 25)}
    assert at == pytest.approx({0: 0, 2.5: 0.5, 5: 1, 10: (1 + math.cos(math.pi / 4)) / 2, 15: 0.5, 25: 0})


def test_the_published_steps_of_200_epochs():
    at = [learning_rate_factor("step", e, epochs=200, warmup=5) for e in (0, 1, 5, 159.9, 160, 179.9, 180, 199)]
    assert at == pytest.approx([0, 0.2, 1, 1, 0.01, 0.01, 0.0001, 0.0001])


def test_the_influence_balanced_steps_begin_at_half():
    at = [learning_rate_factor("step-ib", e, epochs=200, warmup=5) for e in (5, 99.9, 100, 160, 180)]
    assert at == pytest.approx([1, 1, 1e-2, 1e-4, 1e-6])


@given(st.sampled_from(SCHEDULES), st.integers(1, 300), st.floats(0, 1), st.floats(0, 1))
def test_factors_stay_between_0_and_1(schedule, epochs, share, warm):
    assert 0 <= learning_rate_factor(schedule, share * epochs, epochs=epochs, warmup=warm * epochs) <= 1


def test_an_unknown_schedule_is_refused():
    with pytest.raises(InputError, match=r"'linear'.*cosine, step, step-ib"):
        learning_rate_factor("linear", 0, epochs=1, warmup=0)
