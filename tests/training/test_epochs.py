"""Runs: the same tensors however often they are interrupted, and folders that are never overwritten."""

import dataclasses
import json
import math
import os

import pytest
import torch
from torch import nn

from foundation.errors import InputError, LandscapeError
from training import Config, train
from training.checkpoint import load_checkpoint
from training.data import open_split
from training.epochs import is_snapshot, open_configured
from training.methods.method import build_method
from training.models import build_model
from training.trainer import Trainer


def config(out, **changes):
    small = {"data": "digits", "imbalance": 20.0, "model_kwargs": {"widths": [4, 8]}, "device": "cpu", "epochs": 4,
             "evaluate_every": 2, "snapshots": 2}  # fmt: skip
    return Config(out=out, **{**small, **changes})


class Stop(Exception):
    pass


def stopping(after):
    """A `say` that interrupts the run once it has heard `after` epochs."""
    heard = []

    def say(line):
        heard.append(line)
        if len(heard) == after:
            raise Stop

    return say


def same(a, b):
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a if key != "seconds")
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


METHODS = {
    "ce": {},
    "balanced-softmax+bgp": {},
    "sam": {"ema": 0.9},
    "ldam-drw+cmo": {"method_kwargs": {"unmixed_epochs": 1, "probability": 1.0}},
    "mixup+progressive-sampling": {"accumulate": 3},
    "crt": {"method_kwargs": {"share": 0.5}, "epochs": 2, "ema": 0.9},
    "lws": {"method_kwargs": {"share": 0.5}, "epochs": 2},
}


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_run_ends_with_the_tensors_of_a_whole_one(tmp_path, method):
    changes = {"method": method, **METHODS[method]}
    whole = train(config(tmp_path / "whole", **changes))
    for after in (5, 2):  # three lines at the start, the table's header, then an epoch
        with pytest.raises(Stop):
            train(config(tmp_path / "parts", **changes), say=stopping(after))
    parts = train(config(tmp_path / "parts", **changes))
    for name in ("checkpoint.pt", "best.pt"):
        ours, theirs = (load_checkpoint(run.folder / name) for run in (parts, whole))
        assert same(ours.state_dict, theirs.state_dict) and ours.epoch == theirs.epoch
        assert same(ours.metrics, theirs.metrics) and ours.data == theirs.data
    states = (torch.load(run.folder / "resume.pt", weights_only=True)["state"] for run in (parts, whole))
    assert same(*states)
    assert same(list(parts.rows), list(whole.rows))
    lines = (parts.folder / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == list(range(1, len(whole.rows) + 1))
    assert len(list(parts.folder.glob("snapshots/*"))) == 2


def test_metrics_are_cut_back_to_what_was_kept(tmp_path):
    with pytest.raises(Stop):
        train(config(tmp_path), say=stopping(6))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3}\n{"epo')  # a line that never became a checkpoint, and half a line
    run = train(config(tmp_path))
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [row["epoch"] for row in run.rows] == [1, 2, 3, 4]


def test_a_finished_run_is_returned_and_left_alone(tmp_path):
    first = train(config(tmp_path, epochs=1))
    before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir() if path.suffix == ".pt"}
    again = train(config(tmp_path, epochs=1, imbalance=20, model_kwargs={"widths": (4, 8)}))
    assert again.rows == first.rows and again.class_counts == first.class_counts
    assert {path: path.stat().st_mtime_ns for path in before} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"lr": 0.2}, {"method": "bgp"}, {"model_kwargs": {"widths": [8, 8]}}])
def test_another_configuration_is_refused_and_overwrites_nothing(tmp_path, change):
    train(config(tmp_path, epochs=1))
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(InputError, match=rf"holds a run with {next(iter(change))} "):
        train(dataclasses.replace(config(tmp_path, epochs=1), **change))
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_a_second_process_in_the_folder_is_refused(tmp_path):
    def another(line):
        with pytest.raises(InputError, match="another process is training"):
            train(config(tmp_path, epochs=1))

    train(config(tmp_path, epochs=1), say=another)


def test_a_checkpoint_rebuilds_what_was_evaluated(tmp_path):
    run = train(config(tmp_path, method="bgp", epochs=2))
    checkpoint = load_checkpoint(run.checkpoint)
    network = build_model(checkpoint.model["name"], **checkpoint.model["kwargs"])
    network.load_state_dict(checkpoint.state_dict)
    network.eval()
    test = open_split(checkpoint.data, "test")
    with torch.no_grad():
        right = network(test.inputs(torch.arange(len(test)))).argmax(1) == test.labels
    assert float(right.double().mean()) == pytest.approx(checkpoint.metrics["test"]["accuracy"]["all"])
    assert checkpoint.data["class_counts"] == list(run.class_counts)
    assert "reconstruction" in checkpoint.method["note"]
    assert checkpoint.config == run.config.plain() and checkpoint.provenance["seed"] == 0


def test_best_is_chosen_by_validation_and_the_first_of_equals(tmp_path):
    run = train(config(tmp_path, epochs=4))
    scores = [row["validation"]["accuracy"]["balanced"] for row in run.rows]
    best = load_checkpoint(run.best)
    assert best.epoch == run.summary["best"]["epoch"] == 1 + scores.index(max(scores))
    assert run.summary["last"] == {"epoch": 4, **run.rows[-1]["test"]}
    network = build_model(best.model["name"], **best.model["kwargs"]).eval()
    network.load_state_dict(best.state_dict)
    test = open_split(best.data, "test")
    with torch.no_grad():
        right = network(test.inputs(torch.arange(len(test)))).argmax(1) == test.labels
    assert run.summary["best"]["accuracy"]["all"] == pytest.approx(float(right.double().mean()))


def test_an_epoch_waits_for_the_disk_three_times(tmp_path, monkeypatch):
    """For the checkpoint, for what continues from it, and once for both names; a new best is one file more."""
    synced, counts = [], []
    fsync = os.fsync
    monkeypatch.setattr("os.fsync", lambda handle: synced.append(fsync(handle)))

    def say(line):
        if line.startswith("    "):
            counts.append(len(synced))
            synced.clear()

    run = train(config(tmp_path, snapshots=0), say=say)
    scores = [row["validation"]["accuracy"]["balanced"] for row in run.rows]
    best = [score > max([-1.0, *scores[:epoch]]) for epoch, score in enumerate(scores)]
    assert counts[1:] == [3 + is_best for is_best in best[1:]]  # config.json is written before the first


def test_tf32_and_the_choice_of_kernels_end_with_the_steps(tmp_path, monkeypatch):
    seen = []

    def settings():
        return torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32, torch.backends.cudnn.benchmark

    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda *given: seen.append(settings()) or step(*given))
    first = train(config(tmp_path / "tf32", precision="tf32", epochs=1))
    assert set(seen) == {(True, True, True)} and settings() == (False, False, False)
    seen.clear()
    other = train(config(tmp_path / "float32", epochs=1))
    assert set(seen) == {(False, False, True)} and settings() == (False, False, False)
    ours, theirs = (load_checkpoint(run.checkpoint).state_dict for run in (first, other))
    assert same(ours, theirs)  # a CPU has no TF32


def test_without_validation_there_is_no_best(tmp_path):
    run = train(config(tmp_path, validation=0, epochs=1))
    assert run.best is None and not (tmp_path / "best.pt").exists()
    assert "validation" not in run.rows[0] and "test" in run.rows[0]


def test_the_callers_random_numbers_are_left_alone(tmp_path):
    torch.manual_seed(11)
    expected = torch.rand(3)
    torch.manual_seed(11)
    train(config(tmp_path, epochs=1))
    assert torch.equal(torch.rand(3), expected)


def test_seeds_differ_and_repeat(tmp_path):
    def weights(name, seed):
        return load_checkpoint(train(config(tmp_path / name, seed=seed, epochs=1)).checkpoint).state_dict

    first, again, other = weights("a", 0), weights("b", 0), weights("c", 1)
    assert same(first, again) and not same(first, other)


def test_divergence_is_said_and_not_saved(tmp_path):
    with pytest.raises(LandscapeError, match=r"training diverged in epoch 1.*--lr"):
        train(config(tmp_path, lr=1e30, warmup=0.0))
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_run_that_failed_in_its_first_epoch_may_be_corrected(tmp_path):
    with pytest.raises(LandscapeError):
        train(config(tmp_path, lr=1e30, warmup=0.0))
    run = train(config(tmp_path, epochs=1))
    assert (
        json.loads((tmp_path / "config.json").read_text())
        == load_checkpoint(run.checkpoint).config
        == run.config.plain()
    )


def test_out_of_memory_in_the_first_epoch_claims_nothing(tmp_path, monkeypatch):
    def full(*ignored):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError):
        patch.setattr(Trainer, "step", full)
        train(config(tmp_path))
    assert train(config(tmp_path, epochs=1, batch_size=32)).config.batch_size == 32


def test_before_it_starts_a_run_says_what_it_will_be(tmp_path):
    heard = []
    run = train(config(tmp_path, method="sam", epochs=2), say=heard.append)
    network = build_model("cnn", **load_checkpoint(run.checkpoint).model["kwargs"])
    parameters = sum(parameter.numel() for parameter in network.parameters())
    assert heard[0].startswith(f"cnn of {parameters:,} parameters on cpu")
    assert f"{sum(run.class_counts):,} training images of 10 classes, {run.class_counts[0]} to" in heard[1]
    assert heard[1].endswith("classes by count (n > 100, 20 to 100, n < 20): many 1, medium 5, few 4")
    assert f"2 epochs, {2 * -(-sum(run.class_counts) // 64)} steps, about" in heard[2]
    heard.clear()
    train(config(tmp_path, method="sam", epochs=2), say=heard.append)
    assert heard[0].startswith("last epoch 2,") and heard[1].startswith("best epoch")
    assert "by validation (best.pt), test accuracy: all" in heard[1]


@pytest.mark.parametrize("precision", ["bfloat16", "float64"])
def test_other_precisions_train(tmp_path, precision):
    run = train(config(tmp_path, precision=precision, epochs=3, method="bgp"))
    assert run.rows[-1]["objective"] < run.rows[0]["objective"]
    kinds = {
        tensor.dtype for tensor in load_checkpoint(run.checkpoint).state_dict.values() if tensor.is_floating_point()
    }
    assert kinds == {torch.float64 if precision == "float64" else torch.float32}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epochs": 0}, "epochs 0"),
        ({"batch_size": 0}, "batch-size 0"),
        ({"lr": -1.0}, "lr -1"),
        ({"weight_decay": float("nan")}, "weight-decay nan"),
        ({"precision": "int8"}, "int8"),
        ({"schedule": "linear"}, "linear"),
        ({"device": "cuda:99"}, "cuda:99"),
        ({"method": "magic"}, "magic"),
        ({"model_kwargs": {"depth": 3}}, "depth"),
    ],
)
def test_unusable_settings_write_nothing(tmp_path, change, said):
    with pytest.raises(InputError, match=said):
        train(config(tmp_path / "run", **change))
    assert not (tmp_path / "run").exists()


def test_snapshots_are_evenly_spaced_and_end_with_the_last():
    assert [epoch for epoch in range(1, 31) if is_snapshot(epoch, 30, 4)] == [8, 15, 23, 30]
    assert [epoch for epoch in range(1, 4) if is_snapshot(epoch, 3, 10)] == [1, 2, 3]
    assert not any(is_snapshot(epoch, 30, 0) for epoch in range(1, 31))


@pytest.mark.exhaustive
@pytest.mark.parametrize("method", ["ce", "sam+bgp"])
def test_a_compiled_network_takes_the_same_steps(tmp_path, method):
    eager, compiled = (
        train(config(tmp_path / str(on), method=method, compile=on, epochs=1, precision="float64"))
        for on in (False, True)
    )
    ours, theirs = (load_checkpoint(run.checkpoint).state_dict for run in (compiled, eager))
    for name, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[name], rtol=1e-9, atol=1e-9)


def test_one_channel_networks_work_in_nhwc_order(tmp_path):
    """A one-channel image is in both orders at once, so the weights must decide: NCHW steps take 1.5 times as long."""
    settings = config(tmp_path)
    data = open_configured(settings)
    trainer = Trainer(settings, data, build_method("ce", data.class_counts), torch.device("cpu"))
    seen = []
    for module in trainer.network.body[:4]:
        module.register_forward_hook(lambda module, inputs, output: seen.append(output))
    (images, _), _ = next(trainer.batches(0, seed=0))
    trainer.forward(images)
    assert len(seen) == 4
    for output in seen:
        assert output.is_contiguous(memory_format=torch.channels_last) and not output.is_contiguous()


@pytest.mark.parametrize("size", [48, 49])  # the shares of two processes in a batch of 97
def test_a_batch_is_split_into_as_many_pieces_as_asked(tmp_path, size):
    settings = config(tmp_path, accumulate=16)
    data = open_configured(settings)
    trainer = Trainer(settings, data, build_method("ce", data.class_counts), torch.device("cpu"))
    sizes = []
    trainer.forward.register_forward_pre_hook(lambda module, inputs: sizes.append(len(inputs[0])))
    (batch,) = trainer.loaders["train"].batches([torch.arange(size)], seed=0)
    trainer.step(0, 0, batch)
    assert len(sizes) == 16 and sum(sizes) == size


def test_a_run_is_what_a_plain_loop_does(tmp_path):
    run = train(config(tmp_path, precision="float64", epochs=2, batch_size=90, lr=0.05, weight_decay=1e-3, seed=4))
    checkpoint = load_checkpoint(run.checkpoint)
    torch.manual_seed(4)
    network = build_model("cnn", **checkpoint.model["kwargs"]).double()
    optimizer = torch.optim.SGD(network.parameters(), 0.05, momentum=0.9, weight_decay=1e-3)
    split = open_split(checkpoint.data, "train")
    pixels = split.pixels(torch.arange(len(split))).double() / 255
    images = (pixels - split.mean[0]) / split.std[0]
    steps = -(-len(split) // 90)
    for epoch in range(2):
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(4 * 1_000_003 + epoch))
        for index, rows in enumerate(order.tensor_split(steps)):
            here = epoch + (index + 0.5) / steps
            optimizer.param_groups[0]["lr"] = 0.05 * (here if here < 1 else (1 + math.cos(math.pi * (here - 1))) / 2)
            loss = nn.functional.cross_entropy(network(images[rows]), split.labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(checkpoint.state_dict[name], tensor, rtol=1e-10, atol=1e-12)
