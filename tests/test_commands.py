"""Every command as a user runs it: bad input is one sentence, a kill loses nothing, nothing unsafe is opened."""

import json
import pickle
import shutil
import signal

import h5py
import numpy as np
import pytest
import torch

from tests.conftest import SMALL, run_command, run_process

HESSIAN = ("--subsets", "all,few,class:8,class:9", "--top", "2")
MEASURING = {
    "landscape.hessian": HESSIAN,
    "landscape.sharpness": ("--subsets", "all,few,class:9"),
    "landscape.surface": ("--points", "7", "--span", "0.5"),
}


def one_sentence(done, *said):
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: "), done.stderr
    for text in said:
        assert text in done.stderr


@pytest.mark.parametrize(
    ("option", "value"),
    [("--data", "cifar11"), ("--method", "magic"), ("--model", "brain"), ("--imbalance", "0.5"), ("--epochs", "0")],
)
def test_training_refuses_bad_settings(tmp_path, option, value):
    out = tmp_path / "run"
    one_sentence(run_command("training.run", *SMALL, "--out", out, option, value, check=False), value)
    assert not out.exists()


def test_training_refuses_a_folder_it_cannot_write(tmp_path):
    (tmp_path / "file").touch()
    one_sentence(run_command("training.run", *SMALL, "--out", tmp_path / "file" / "run", check=False), "file/run")


def test_a_second_run_in_a_folder_overwrites_nothing(small_run):
    before = {p: p.read_bytes() for p in small_run.iterdir() if p.is_file()}
    one_sentence(run_command("training.run", *SMALL, "--seed", "5", "--out", small_run, check=False), "seed")
    assert {p: p.read_bytes() for p in small_run.iterdir() if p.is_file()} == before


@pytest.mark.parametrize("module", MEASURING)
class TestMeasuring:
    def test_a_missing_checkpoint(self, tmp_path, module):
        one_sentence(run_command(module, "--ckpt", tmp_path / "no.pt", check=False), "no.pt")

    @pytest.mark.parametrize("content", [b"", b"garbage", b"PK\x03\x04 cut"])
    def test_a_corrupt_checkpoint(self, tmp_path, module, content):
        (tmp_path / "bad.pt").write_bytes(content)
        one_sentence(run_command(module, "--ckpt", tmp_path / "bad.pt", check=False), "bad.pt")
        assert [p.name for p in tmp_path.iterdir()] == ["bad.pt"]

    def test_a_checkpoint_that_would_run_code(self, tmp_path, module):
        class Evil:
            def __reduce__(self):
                return (open, (str(tmp_path / "ran"), "w"))

        torch.save({"format": "landscape-checkpoint", "version": 1, "model": Evil()}, tmp_path / "evil.pt")
        (tmp_path / "plain.pt").write_bytes(pickle.dumps(Evil()))
        for name in ("evil.pt", "plain.pt"):
            one_sentence(run_command(module, "--ckpt", tmp_path / name, check=False), name)
        assert not (tmp_path / "ran").exists()

    def test_unknown_names(self, small_run, module):
        checkpoint = small_run / "checkpoint.pt"
        one_sentence(run_command(module, "--ckpt", checkpoint, "--subsets", "class:77", check=False), "class:77")
        one_sentence(run_command(module, "--ckpt", checkpoint, "--params", "layer9.*", check=False), "layer9.*")
        one_sentence(run_command(module, "--ckpt", checkpoint, "--split", "tomorrow", check=False), "tomorrow")
        one_sentence(run_command(module, "--ckpt", checkpoint, "--name", "a/b", check=False), "a/b")
        assert not (small_run / "landscape.h5").exists()

    def test_a_place_that_cannot_be_written(self, small_run, module):
        out = small_run / "checkpoint.pt" / "landscape.h5"
        one_sentence(run_command(module, "--ckpt", small_run / "checkpoint.pt", "--out", out, check=False), "--out")


EXHAUSTIVE = pytest.mark.exhaustive
"""The Hessian is killed in a test of its own; that of the sharpness takes 6 s more."""


@pytest.mark.parametrize(
    "module",
    ["landscape.surface", *(pytest.param(f"landscape.{name}", marks=EXHAUSTIVE) for name in ("hessian", "sharpness"))],
)
def test_sigkill_then_the_same_command_ends_as_if_nothing_had_happened(small_run, tmp_path, module):
    arguments = ("--ckpt", small_run / "checkpoint.pt", *MEASURING[module])
    whole, broken = tmp_path / "whole.h5", tmp_path / "broken.h5"
    run_command(module, *arguments, "--out", whole)
    # Killed after the third unit of work was made durable, or wherever the command makes its third one so.
    killed = run_process(
        "tests.kill_at",
        "landscape.files.units:Recording.flush",
        4,
        module,
        *arguments,
        "--out",
        broken,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert list(tmp_path.glob("broken.*.partial/*.unit"))
    run_command(module, *arguments, "--out", broken)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.h5", "whole.h5"]
    assert datasets(whole) == datasets(broken)


def datasets(path):
    found = {}

    def visit(name, item):
        if isinstance(item, h5py.Dataset):
            found[name] = (item.dtype, item.shape, np.asarray(item[()]).tobytes() if item.dtype.kind != "O" else
                           [str(v) for v in item[()]])  # fmt: skip

    with h5py.File(path) as file:
        file.visititems(visit)
    assert len(found) > 8
    return found


def test_sigkill_in_training_then_resume_gives_the_same_tensors(small_run, tmp_path):
    out = tmp_path / "run"
    arguments = (*SMALL, "--method", "ce", "--out", out)
    killed = run_process(
        "tests.kill_at", "training.run_folder:RunFolder.record", 2, "training.run", *arguments, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    run_command("training.run", "--out", out, "--resume")
    ours, theirs = (torch.load(p / "checkpoint.pt", weights_only=True) for p in (out, small_run))
    assert ours["epoch"] == theirs["epoch"] == 3
    assert ours["state_dict"].keys() == theirs["state_dict"].keys()
    for name, tensor in ours["state_dict"].items():
        assert torch.equal(tensor, theirs["state_dict"][name]), name
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_checkpoint_moved_elsewhere_measures_the_same(small_run, tmp_path):
    shutil.copy(small_run / "checkpoint.pt", tmp_path / "moved.pt")
    run_command("landscape.sharpness", "--ckpt", tmp_path / "moved.pt", "--subsets", "class:9")
    assert (tmp_path / "landscape.h5").exists()


@pytest.mark.parametrize("module", MEASURING)
def test_json_is_all_that_stdout_holds(small_run, tmp_path, module):
    out = tmp_path / "landscape.h5"
    small = {"landscape.hessian": ("--dry-run",), "landscape.sharpness": ("--steps", "1", "--draws", "2")}
    options = small.get(module, ("--points", "3", "--span", "0.5"))
    command = (module, "--ckpt", small_run, "--subsets", "few", "--out", out, "--json", *options)
    done = run_command(*command)
    if module == "landscape.hessian":  # nothing is measured, nothing is told
        assert done.stdout == "" and "Hessian of 1 subset, " in done.stderr
        command = (*command[:-1], "--top", "1", "--tol", "3e-2", "--no-intervals")
        done = run_command(*command)
    told = json.loads(done.stdout)
    analysis = module.partition(".")[2]
    assert (told["file"], told["measurement"], told["subsets"]) == (str(out), f"{analysis}/train", ["few"])
    assert told["seconds"] > 0 and f"{analysis}/train" in done.stderr
    assert json.loads(run_command(*command).stdout)["subsets"] == ["few"]  # it is there already
