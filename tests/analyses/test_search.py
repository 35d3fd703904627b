"""Choosing settings by the validation split."""

import pytest

from analyses.search import Candidate, search, table
from foundation.errors import InputError
from training.config import Config


def base(out, **changes):
    small = {"data": "digits", "imbalance": 10.0, "model_kwargs": {"widths": [4, 8]}, "epochs": 1, "device": "cpu"}
    return Config(out=out, snapshots=0, **{**small, **changes})


def test_every_combination_is_trained_and_sorted_by_validation(tmp_path):
    found = search(base(tmp_path, method="bgp"), {"lr": [0.0, 0.1], "method.weight": [1, 2]}, seeds=2)
    assert {tuple(c.settings.items()) for c in found} == {
        (("lr", lr), ("method.weight", weight)) for lr in (0.0, 0.1) for weight in (1, 2)
    }
    scores = [c.accuracy["balanced"] for c in found]
    assert scores == sorted(scores, reverse=True)
    assert found == search(base(tmp_path, method="bgp"), {"lr": [0.0, 0.1], "method.weight": [1, 2]}, seeds=2)


def test_the_table_shows_percent():
    candidate = Candidate({"lr": 0.1}, {"balanced": 0.5, "few": 0.25}, 0.01)
    assert table([candidate]).splitlines()[-1] == "| lr=0.1 | 50.0 ± 1.0 | 25.0 |"


def test_settings_that_cannot_be_chosen_are_refused(tmp_path):
    with pytest.raises(InputError, match="'depth'"):
        search(base(tmp_path), {"depth": [1]}, seeds=1)
    with pytest.raises(InputError, match="nothing is held out"):
        search(base(tmp_path, validation=0), {"lr": [0.1]}, seeds=1)
