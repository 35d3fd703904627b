"""What training hands to measuring: the trained loss with the weights that training had."""

import pytest

from benchmarks.training import operators
from landscape.files.checkpoint import open_checkpoint
from tests.training.test_epochs import config
from training import train
from training.data import open_data
from training.methods.balance import expected_class_weights


@pytest.mark.parametrize(("accumulate", "size"), [(1, 40), (3, 14)])
def test_the_trained_loss_weighs_classes_as_batches_of_the_run_did(tmp_path, accumulate, size):
    run = train(config(tmp_path, method="bgp", epochs=1, batch_size=40, accumulate=accumulate, snapshots=0))
    opened = open_checkpoint(run.checkpoint, loss="trained")
    stored = opened.config["trained_loss"]
    assert (stored["batch_size"], stored["draws"], stored["seed"]) == (size, 2000, 0)
    assert stored["class_weights"] == pytest.approx(expected_class_weights(run.class_counts, size).tolist())
    assert "trained_loss" not in open_checkpoint(run.checkpoint).config


def test_a_step_of_bgp_dispatches_few_operators_more_than_cross_entropy():
    data = open_data("digits", imbalance=10)
    added = operators("bgp", {}, data, model="cnn") - operators("ce", {}, data, model="cnn")
    assert 0 < added <= 45
