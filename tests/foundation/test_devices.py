"""Which device a command takes, and which it refuses."""

from __future__ import annotations

import pytest
import torch

from foundation.devices import choose_device
from foundation.errors import InputError


def test_measuring_leaves_a_device_without_float64_alone(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert choose_device("auto") == torch.device("mps")
    assert choose_device("auto", float64=True) == torch.device("cpu")
    with pytest.raises(InputError, match="no float64"):
        choose_device("mps", float64=True)


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta-physics"])
def test_a_device_that_is_not_there_is_one_sentence(name):
    with pytest.raises(InputError, match="not available here"):
        choose_device(name)
