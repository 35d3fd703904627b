"""The benchmark of a GPU does what it says; here on a CPU, small, where its seconds mean nothing."""

import pytest
import torch

from benchmarks.gpu import timed_measurements, timed_run, write_images
from training.checkpoint import load_checkpoint

SMALL = {"compile": False, "model": "cnn", "model_kwargs": {"widths": [4, 8]}}


def test_a_run_by_the_recipe_is_timed(tmp_path):
    write_images(tmp_path / "data.npz", largest=100)
    checkpoint, seconds = timed_run(tmp_path, device="cpu", epochs=1, **SMALL)
    content = load_checkpoint(checkpoint)
    assert content.data["class_counts"] == [100, 59, 35, 21, 12, 7, 4, 2, 1, 1] and content.epoch == 2
    assert content.config["precision"] == "tf32" and content.config["batch_size"] == 128 and seconds > 0


@pytest.mark.exhaustive
def test_its_measurements_are_timed(tmp_path):
    write_images(tmp_path / "data.npz", largest=100)
    checkpoint, _ = timed_run(tmp_path, device="cpu", epochs=1, **SMALL)
    curvature, products, surface = timed_measurements(checkpoint, device=torch.device("cpu"), points=3)
    assert curvature > 0 and surface > 0 and products > 0
