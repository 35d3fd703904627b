"""The recipes of CONTRIBUTING.md, followed to the letter."""

import re

import pytest
import torch

from tests.conftest import ROOT, run_command
from training.data import registry as data_sets
from training.methods import method as methods
from training.methods import registry as parts
from training.models import registry as networks
from training.registry import Entry

TEXT = (ROOT / "CONTRIBUTING.md").read_text()


@pytest.fixture
def made():
    """What the Python examples define."""
    names = {}
    for example in re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL):
        exec(example, names)
    return names


def line_for(name):
    """The line that the recipe adds to a registry, evaluated by the caller."""
    (line,) = re.findall(rf'^    "{name}": (.*),$', TEXT, re.MULTILINE)
    return line


def test_a_loss_a_network_and_a_data_set_by_the_recipes(made, monkeypatch, tmp_path):
    loss = eval(line_for("label-smoothing").replace("label_smoothing.", "", 1), {**vars(parts), **made})
    monkeypatch.setitem(parts.LOSSES, "label-smoothing", loss)
    monkeypatch.setitem(parts.PARTS, "label-smoothing", loss)
    assert methods.PARTS is parts.PARTS
    monkeypatch.setitem(networks.MODELS, "mlp", eval(line_for("mlp"), {**vars(networks), **made}))
    stripes = eval(line_for("stripes").replace("stripes.", "", 1), {"Entry": Entry, **made})
    monkeypatch.setitem(data_sets.DATASETS, "stripes", stripes)

    listed = run_command("training.run", "--list").stdout
    assert all(name in listed for name in ("label-smoothing", "mlp", "stripes"))
    out = tmp_path / "run"
    run_command("training.run", "--data", "stripes", "--imbalance", 5, "--model", "mlp", "--epochs", 3, "--seed", 0,
                "--method", "label-smoothing-drw+sam", "--method-kwargs", "smoothing=0.2", "--device", "cpu",
                "--out", out)  # fmt: skip
    checkpoint = torch.load(out / "checkpoint.pt", weights_only=True)
    assert checkpoint["method"]["kwargs"]["label-smoothing.smoothing"] == 0.2
    assert checkpoint["metrics"]["test"]["accuracy"]["all"] > 0.9
    run_command("landscape.sharpness", "--ckpt", out / "checkpoint.pt", "--loss", "trained", "--subsets", "all")


def test_the_commands_are_targets():
    made = set(re.findall(r"^    make ([a-z-]+)", TEXT, re.MULTILINE))
    assert made == {"test", "test-all", "lint"}
    assert made <= set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
