"""Training on two processes equals training on one, to 1e-10, also with unequal shards."""

import pytest
import torch

from tests.training.ranks import EQUAL, UNEQUAL, alone, together

METHODS = {
    "ce": {},
    "bgp": {},
    "bgp class-mean": {"member": "class-mean"},
    "bgp classifier": {"member": "classifier", "weight": 0.5},
    "bgp classifier plain": {"member": "classifier", "norm": "plain", "weight": 0.5},
    "bgp logit-norm": {"member": "logit-norm"},
    "bgp logit-norm mean": {"member": "logit-norm", "norm": "mean"},
    "balanced-softmax-drw+bgp": {},
    "ib": {},
    "batch-balanced-ce+unbalanced-penalty": {"batch-balanced-ce.weight": 0.5},
    "abc-norm+mae": {},
}
CASES = {
    (key, sizes): (key.split(" ")[0], kwargs, sizes) for key, kwargs in METHODS.items() for sizes in (EQUAL, UNEQUAL)
}


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return together(tmp_path_factory.mktemp("ranks"), CASES)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}, {case[1][0]}+{case[1][1]}")
def test_equals_one_process(ranks, case):
    name, kwargs, _ = CASES[case]
    expected, values = alone(name, kwargs)
    for parameters, objectives in ranks[case]:
        torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-10)
        assert objectives == pytest.approx(values, abs=1e-10)
