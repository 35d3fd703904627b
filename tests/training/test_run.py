"""The command's arguments become a configuration."""

import json
import signal
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.training.data.formats import write_cifar
from training.batches.augment import AUGMENTATIONS
from training.checkpoint import load_checkpoint
from training.config import Config
from training.data import DATASETS
from training.methods.method import build_method
from training.models import MODELS
from training.recipe import recipe_names
from training.run import build_parser, main
from training.run_folder import read_config


def configured(*arguments):
    settings = vars(build_parser().parse_args([str(a) for a in arguments]))
    return Config(**{name: value for name, value in settings.items() if name in Config.__dataclass_fields__})


def test_the_defaults_are_those_of_the_configuration(tmp_path):
    assert configured("--out", tmp_path) == Config(out=tmp_path)


def test_settings_are_typed(tmp_path):
    kwargs = ("--model-kwargs", "widths=[4,8]", "activation=gelu", "--method-kwargs", "weight=0.5")
    config = configured("--out", tmp_path, "--imbalance", "natural", *kwargs, "--no-channels-last", "--validation", "0")
    assert config.imbalance is None and config.validation == 0 and not config.channels_last
    assert config.model_kwargs == {"widths": [4, 8], "activation": "gelu"}
    assert config.method_kwargs == {"weight": 0.5}


def end(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        main([str(a) for a in arguments])
    return stop.value.code, capsys.readouterr()


SMALL = ("--data", "digits", "--imbalance", 10, "--model-kwargs", "widths=[4,8]", "--epochs", 2, "--device", "cpu")


def test_a_run_then_resume_with_its_own_settings(tmp_path, capsys):
    code, said = end(capsys, *SMALL, "--lr", 0.05, "--out", tmp_path / "run")
    assert code == 0 and "last epoch 2, test accuracy: all" in said.out and "checkpoint.pt" in said.out
    assert read_config(tmp_path / "run")["lr"] == 0.05
    code, _ = end(capsys, "--resume", "--out", tmp_path / "run")
    assert code == 0
    code, said = end(capsys, "--resume", "--lr", 0.2, "--out", tmp_path / "run")
    assert code == 2 and "lr 0.05, not 0.2" in said.err


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(tmp_path, capsys):
    code, said = end(capsys, *SMALL, "--dry-run", "--out", tmp_path / "run")
    assert code == 0 and "training images of 10 classes" in said.out and "2 epochs" in said.out
    assert not (tmp_path / "run").exists()
    code, said = end(capsys, *SMALL, "--dry-run", "--method", "magic", "--out", tmp_path / "run")
    assert code == 2 and "magic" in said.err


@pytest.mark.parametrize("content", [None, "{", "[1]"])
def test_nothing_to_resume_is_one_sentence(tmp_path, capsys, content):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    code, said = end(capsys, "--resume", "--out", tmp_path)
    assert code == 2 and said.err.startswith("error: ") and said.err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--imbalance", "lots"), "--imbalance"),
        (("--method-kwargs", "weight"), "'weight' is not name=value"),
        (("--schedule", "linear"), "linear"),
        (("--no-such",), "--no-such"),
    ],
)
def test_arguments_that_cannot_be_read_are_one_sentence(tmp_path, capsys, arguments, said):
    code, output = end(capsys, "--out", tmp_path / "run", *arguments)
    assert code == 2 and said in output.err and output.err.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_every_setting_of_the_configuration_has_an_option():
    options = {action.dest for action in build_parser()._actions}
    assert set(Config.__dataclass_fields__) == options - {"help", "resume", "recipe", "list", "dry_run", "track"}


def test_config_json_holds_the_resolved_settings(tmp_path, capsys):
    end(capsys, *SMALL, "--out", tmp_path / "run")
    saved = json.loads((tmp_path / "run" / "config.json").read_text())
    assert set(saved) == set(Config.__dataclass_fields__) and saved["weight_decay"] == 5e-4  # the network's own


def test_a_recipe_sets_defaults_that_flags_override(tmp_path):
    config = configured("--recipe", "cifar100-lt/ldam-drw+bgp", "--out", tmp_path)
    assert (config.data, config.model, config.method) == ("cifar100", "resnet32", "ldam-drw+bgp")
    assert (config.epochs, config.weight_decay, config.validation) == (200, 2e-4, 0)
    assert configured("--recipe", "cifar100-lt/ldam-drw+bgp", "--out", tmp_path, "--epochs", "3").epochs == 3
    assert configured("--recipe", "imagenet-lt/ce", "--out", tmp_path).imbalance is None
    mine = tmp_path / "mine.yaml"
    mine.write_text("method: la\nmethod_kwargs: {tau: 2.0}\n")
    assert configured("--recipe", mine, "--out", tmp_path).method_kwargs == {"tau": 2.0}


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_names_what_there_is(name, tmp_path):
    config = configured("--recipe", name, "--out", tmp_path)
    assert config.data in DATASETS and config.model in MODELS
    assert config.augment is None or config.augment in AUGMENTATIONS
    build_method(config.method, [500, 50, 5], **config.method_kwargs)


@pytest.mark.parametrize(
    ("text", "said"), [("- a", "no list"), ("a: [", "cannot be read"), ("color: red", "'color'"), ("", "no list")]
)
def test_a_bad_recipe_is_one_sentence(tmp_path, capsys, text, said):
    (tmp_path / "r.yaml").write_text(text)
    code, output = end(capsys, "--recipe", tmp_path / "r.yaml", "--out", tmp_path / "run")
    assert code == 2 and said in output.err and output.err.count("\n") == 1
    code, output = end(capsys, "--recipe", "cifar10-lt/magic", "--out", tmp_path / "run")
    assert code == 2 and "cifar10-lt/ce" in output.err


def test_the_list_names_everything_with_its_paper(capsys):
    code, said = end(capsys, "--list")
    assert code == 0
    for name in (*DATASETS, *MODELS, *AUGMENTATIONS, *recipe_names(), "ldam", "bgp", "focal-sam", "crt"):
        assert f"  {name} " in said.out, name
    assert "Cao et al., NeurIPS 2019" in said.out


def test_a_published_protocol_runs_on_files_of_the_original_format(tmp_path, capsys):
    write_cifar(tmp_path / "cifar-10-batches-py", 10, 4)
    small = ("--imbalance", 4, "--epochs", 1, "--model-kwargs", "width=4", "--device", "cpu", "--out", tmp_path / "run")
    code, said = end(capsys, "--recipe", "cifar10-lt/ldam-drw+bgp", "--data-dir", tmp_path, *small)
    assert code == 0 and "last epoch 1, test accuracy" in said.out and "best" not in said.out, said.err
    checkpoint = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert checkpoint.model["name"] == "resnet32" and checkpoint.model["kwargs"]["head"] == "cosine"
    assert checkpoint.data["class_counts"][0] == 20 and "reconstruction" in checkpoint.method["note"]


def test_a_terminated_run_keeps_its_epochs_and_goes_on(tmp_path, capsys, monkeypatch):
    heard = []

    def hear(line):
        heard.append(line)
        if line.startswith("    2 "):
            signal.raise_signal(signal.SIGTERM)

    flags = (*SMALL, "--epochs", 5, "--out", tmp_path / "run")
    monkeypatch.setattr("training.run.say", hear)
    code, said = end(capsys, *flags)
    assert code == 143 and said.err.endswith("the same command continues it\n")
    assert load_checkpoint(tmp_path / "run" / "checkpoint.pt").epoch == 2
    monkeypatch.setattr("training.run.say", heard.append)
    code, _ = end(capsys, *flags)
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert code == 0 and [json.loads(line)["epoch"] for line in lines] == [1, 2, 3, 4, 5]
    assert sum(line.startswith("    2 ") for line in heard) == 1  # what was kept is not trained again


@pytest.mark.exhaustive
def test_a_terminated_process_keeps_its_epochs(tmp_path):
    many = (*SMALL[:-4], "--epochs", 500, "--device", "cpu", "--out", tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-m", "training.run", *map(str, many)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    for line in process.stdout:
        if line.startswith("    2 "):
            process.terminate()
            break
    _, complaint = process.communicate(timeout=60)
    assert process.returncode == 143 and complaint.endswith("the same command continues it\n"), complaint
    done = load_checkpoint(tmp_path / "run" / "checkpoint.pt").epoch
    assert 2 <= done < 500
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert done <= len(lines) <= done + 1
