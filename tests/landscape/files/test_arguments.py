"""The options that every measuring command shares."""

import importlib
import os
import socket
from pathlib import Path

import pytest
import torch
from torch import nn

from foundation.command import Parser
from foundation.errors import InputError
from landscape.files import arguments
from landscape.files.checkpoint import Opened
from landscape.files.target import Target
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from landscape.subject.subsets import left_out


def test_a_command_says_which_subsets_are_left_out(tmp_path: Path, monkeypatch, capsys) -> None:
    samples = TensorSamples(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]))
    subject = Subject(nn.Linear(2, 3), samples, train_counts=[9, 5, 2])
    opened = Opened(tmp_path / "c.pt", "a" * 64, None, subject, {"split": "test"})  # type: ignore[arg-type]
    monkeypatch.setattr(arguments, "open_checkpoint", lambda *_, **__: opened)
    parser = Parser("landscape.hessian", "Measures.", "--ckpt c.pt")
    arguments.add_arguments(parser)
    parser.add_argument("--seed", type=int, default=0)
    found, target = arguments.open_arguments(parser.parse_args(["--ckpt", str(tmp_path / "c.pt"), "--split", "test"]))
    assert found is subject and (target.file, target.name) == (tmp_path / "landscape.h5", "test")
    assert capsys.readouterr().out == "left out, for want of samples here: few, class:2\n"


def test_a_long_list_is_cut() -> None:
    assert left_out([]) == ""
    assert left_out([f"class:{c}" for c in range(9)]).endswith("class:5 and 3 more")


def test_an_empty_name_is_refused(tmp_path: Path) -> None:
    for name in ("", "a/b", "a b", "a.b"):
        with pytest.raises(InputError, match="cannot name a measurement"):
            Target(tmp_path / "l.h5", name, "a" * 64, {}, {})


def test_results_go_to_ordinary_files_only(tmp_path: Path) -> None:
    """A rename would replace a device or a FIFO, and reading one would wait for ever."""
    folder, fifo, bound = (tmp_path / name for name in ("folder", "fifo", "socket"))
    folder.mkdir()
    os.mkfifo(fifo)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(bound))
        for path in (folder, fifo, bound, Path("/dev/null")):
            with pytest.raises(InputError, match="no ordinary file"):
                Target(path, "train", "a" * 64, {}, {})


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        (
            ["--split", "tran"],
            "argument --split: unknown 'tran' (did you mean train?): choose train or validation or test",
        ),
        (["--subset", "all"], "unrecognized arguments: --subset all (did you mean --subsets?)"),
        (["--subset=all"], "unrecognized arguments: --subset=all (did you mean --subsets?)"),
        (["--zzz"], "unrecognized arguments: --zzz (see"),
    ],
)
def test_a_misspelled_option_or_choice_is_answered_with_the_nearest(capsys, given: list[str], sentence: str) -> None:
    parser = Parser("landscape.hessian", "Measures.", "--ckpt c.pt")
    arguments.add_arguments(parser)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(given)
    said = capsys.readouterr().err
    assert ended.value.code == 2 and said.count("\n") == 1
    assert said.startswith(f"error: {sentence}")


@pytest.mark.parametrize("module", ["landscape.hessian", "landscape.sharpness", "landscape.surface"])
def test_help_says_defaults_as_they_are_given(module: str) -> None:
    said = " ".join(importlib.import_module(f"{module}.__main__").build_parser().format_help().split())
    for leak in ("default: (", "default: None", "default: True", "default: False", "default: )"):
        assert leak not in said
    assert "(default: train)" in said


def test_a_run_folder_stands_for_its_files(tmp_path: Path) -> None:
    assert arguments.checkpoint_path(str(tmp_path)) == tmp_path / "checkpoint.pt"
    assert arguments.result_path(str(tmp_path)) == tmp_path / "landscape.h5"
    assert arguments.checkpoint_path(str(tmp_path / "best.pt")) == tmp_path / "best.pt"
    assert arguments.result_path(str(tmp_path / "other.h5")) == tmp_path / "other.h5"


def test_subsets_are_chosen_by_label_too() -> None:
    samples = TensorSamples(torch.zeros(6, 2), torch.tensor([0, 0, 1, 1, 2, 3]))

    def chosen(*subsets: str, names: tuple[str, ...] = ("Shirt", "Coat", "Bag", "bag")) -> list[str]:
        subject = Subject(nn.Linear(2, 4), samples, class_names=names, subsets=subsets)
        return [subset.name for subset in subject.subsets]

    assert chosen("shirt", "class:1") == ["class:0", "class:1"]
    assert chosen("few", names=("few", "Coat", "Bag", "Hat")) == ["few"]  # a name goes before a label
    with pytest.raises(InputError, match="'Bag' labels 2 subsets: say class:2 or class:3"):
        chosen("Bag")
    with pytest.raises(InputError, match=r"unknown subset 'Shrit' \(did you mean Shirt\?\)"):
        chosen("Shrit")
