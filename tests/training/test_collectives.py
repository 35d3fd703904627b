"""Training on two processes equals training on one, to 1e-10, also with unequal shards."""

import pytest
import torch

from tests.training.ranks import CASES, EQUAL, LOSSES, UNEQUAL, alone, together


@pytest.mark.parametrize("sizes", [EQUAL, UNEQUAL], ids=lambda sizes: f"{sizes[0]}+{sizes[1]}")
@pytest.mark.parametrize("key", LOSSES)
def test_equals_one_process(key, sizes):
    name, kwargs, _ = CASES[key, sizes]
    expected, values = alone(name, kwargs)
    for parameters, objectives in together()[key, sizes]:
        torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-10)
        assert objectives == pytest.approx(values, abs=1e-10)
