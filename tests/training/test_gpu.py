"""The same numbers on a GPU as on the CPU, and steps that never make the host wait."""

import pytest
import torch

from landscape.files.landscape_file import read_landscape
from tests.conftest import run_command
from tests.training.test_epochs import config
from training import train
from training.checkpoint import load_checkpoint
from training.data import open_data
from training.methods.method import build_method
from training.trainer import Trainer

pytestmark = pytest.mark.gpu


@pytest.mark.parametrize("method", ["bgp", "sam", "mixup", "cc-sam"])
def test_a_run_ends_with_the_weights_of_the_cpu(tmp_path, method):
    changes = {"method": method, "epochs": 2, "precision": "float64", "snapshots": 0, "lr": 0.05}
    ours = train(config(tmp_path / "gpu", **{**changes, "device": "cuda"}))
    theirs = train(config(tmp_path / "cpu", **changes))
    found, expected = (load_checkpoint(run.checkpoint).state_dict for run in (ours, theirs))
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, expected[name], rtol=1e-7, atol=1e-9)


def test_curvature_is_that_of_the_cpu(small_run, tmp_path):
    values = []
    for name in ("cuda", "cpu"):
        out = tmp_path / f"{len(values)}.h5"
        flags = ("--subsets", "class:9", "--top", 2, "--tol", 1e-3, "--no-intervals", "--device", name, "--out", out)
        run_command("landscape.hessian", "--ckpt", small_run / "checkpoint.pt", "--split", "train", *flags)
        measured = read_landscape(out).get("hessian", "train")
        values.append(torch.from_numpy(measured.data["top"]))
    torch.testing.assert_close(*values, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("method", ["ce", "bgp", "ldam-drw+bgp", "mixup", "sam"])
def test_a_step_never_makes_the_host_wait(tmp_path, method, compiled):
    data = open_data("digits", imbalance=20)
    settings = config(tmp_path, device="cuda", compile=compiled, ema=0.9, augment="autoaugment")
    trainer = Trainer(settings, data, build_method(method, data.class_counts), torch.device("cuda"))
    for index, (batch, mix) in enumerate(trainer.batches(0, seed=0)):
        trainer.step(0, index, batch, mix)  # makes the optimizer's state and the recordings
    steps = enumerate(trainer.batches(1, seed=1))
    index, (batch, mix) = next(steps)  # an epoch's order is placed at once
    torch.cuda.set_sync_debug_mode("error")
    try:
        for index, (batch, mix) in steps:
            trainer.step(1, index, batch, mix)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("method", ["ce", "bgp", "drw", "ib", "mixup"])
def test_steps_replayed_from_a_cuda_graph_are_eager_ones(tmp_path, method):
    runs = [
        train(config(tmp_path / str(on), method=method, compile=on, epochs=2, precision="float64", device="cuda"))
        for on in (False, True)
    ]
    eager, compiled = (load_checkpoint(run.checkpoint).state_dict for run in runs)
    for name, tensor in compiled.items():
        torch.testing.assert_close(tensor, eager[name], rtol=1e-7, atol=1e-9)
