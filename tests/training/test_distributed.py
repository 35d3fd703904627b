"""Several processes train as one does, and end with one sentence when one of them is gone."""

import os
import signal
import socket
import subprocess
import sys

import pytest
import torch

from foundation.errors import InputError, LostProcessError
from tests.conftest import ROOT
from tests.kill_at import kill_after
from tests.training.ranks import CASES, EQUAL, LOSSES, UNEQUAL, alone, run_ranks, together
from training import Config, train
from training.checkpoint import load_checkpoint


def config(out, **changes):
    """Ten steps in float64 without BatchNorm: 482 images in batches of 97."""
    small = {"data": "digits", "imbalance": 10.0, "model_kwargs": {"batch_norm": False, "widths": [4, 8]}, "epochs": 2,
             "device": "cpu", "precision": "float64", "batch_size": 97, "lr": 0.05, "snapshots": 0}  # fmt: skip
    return Config(out=out, **{**small, **changes})


METHODS = {
    "bgp": {},
    "batch-balanced-ce": {"balance": "running"},
    "sam": {"sam.synchronized": True},
    "cmo": {"probability": 0.0, "unmixed_epochs": 0},
    "bgp+mae": {"member": "classifier", "bgp.weight": 0.1},  # gathers rows of shards of 41 and 40
}


@pytest.mark.parametrize("sizes", [EQUAL, UNEQUAL], ids=lambda sizes: f"{sizes[0]}+{sizes[1]}")
@pytest.mark.parametrize("key", LOSSES)
def test_every_loss_on_two_ranks_equals_one_process(key, sizes):
    """To 1e-10, also with unequal shards."""
    name, kwargs, _ = CASES[key, sizes]
    expected, values = alone(name, kwargs)
    for parameters, objectives in together()[key, sizes]:
        torch.testing.assert_close(parameters, expected, rtol=0, atol=1e-10)
        assert objectives == pytest.approx(values, abs=1e-10)


def as_torchrun_starts_it(rank, ports, work, folder):
    os.environ.update(RANK=str(rank), LOCAL_RANK=str(rank), WORLD_SIZE="2", MASTER_ADDR="127.0.0.1")
    work(rank, iter(ports), folder)


def train_all(rank, ports, folder):
    said = []
    for method, kwargs in METHODS.items():
        os.environ["MASTER_PORT"] = next(ports)
        run = train(config(folder / method, method=method, method_kwargs=kwargs), say=said.append)
        assert len(run.rows) == 2
    assert bool(said) == (rank == 0)  # rank 0 alone speaks
    os.environ["MASTER_PORT"] = next(ports)
    with pytest.raises(InputError, match="holds a run with seed 0"):
        train(config(folder / "bgp", method="bgp", seed=3))


def lose_one(rank, ports, folder):
    os.environ["MASTER_PORT"] = next(ports)
    if rank == 1:
        kill_after("training.trainer:Trainer.step", 8)
    with pytest.raises(LostProcessError, match="another process of this run has ended"):
        train(config(folder))
    os._exit(0)  # gloo's threads, which still hold what was not sent, abort an orderly end of the interpreter


def train_together(work, folder):
    """Runs `work` on two ranks; returns their exit codes."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
    ports = [str(probe.getsockname()[1]) for probe in probes]
    for probe in probes:
        probe.close()
    return run_ranks(as_torchrun_starts_it, ports, work, folder)


def assert_same_network(ours, theirs):
    first, second = (load_checkpoint(folder / "checkpoint.pt").state_dict for folder in (ours, theirs))
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=0, atol=1e-10)


def test_two_processes_take_the_steps_of_one(tmp_path):
    assert train_together(train_all, tmp_path) == [0, 0]
    for method, kwargs in METHODS.items():
        alone = train(config(tmp_path / f"{method} alone", method=method, method_kwargs=kwargs))
        assert_same_network(tmp_path / method, alone.folder)
        together = load_checkpoint(tmp_path / method / "checkpoint.pt").metrics
        assert together["objective"] == pytest.approx(alone.rows[-1]["objective"], rel=1e-9)
        for split in ("train", "validation", "test"):
            assert together[split]["accuracy"] == alone.rows[-1][split]["accuracy"]
            assert together[split]["loss"]["classes"] == pytest.approx(alone.rows[-1][split]["loss"]["classes"])


def test_a_killed_process_ends_the_run_with_a_sentence_and_it_resumes(tmp_path):
    assert train_together(lose_one, tmp_path / "run") == [0, -signal.SIGKILL]
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").epoch == 1
    train(config(tmp_path / "run"))
    train(config(tmp_path / "whole"))
    assert_same_network(tmp_path / "run", tmp_path / "whole")


FLAGS = "--data digits --imbalance 10 --model-kwargs batch_norm=false widths=[4,8] --epochs 2 --device cpu "
FLAGS += "--precision float64 --batch-size 97 --lr 0.05 --snapshots 0 --method bgp"


@pytest.mark.exhaustive
def test_torchrun_starts_the_command_on_two_processes(tmp_path):
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    command = [*torchrun, "-m", "training.run", *FLAGS.split(), "--out", str(tmp_path / "two")]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.count("wrote ") == 1  # rank 0 alone speaks
    train(config(tmp_path / "one", method="bgp"))
    assert_same_network(tmp_path / "two", tmp_path / "one")
