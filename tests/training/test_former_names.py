"""What version 1 wrote and typed still works: checkpoints, settings, commands."""

from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT, run_command
from training.checkpoint import load_checkpoint
from training.data import open_split
from training.methods.method import build_method
from training.models import build_model

OLD = Path(__file__).with_name("version_1") / "checkpoint.pt"
"""Made before settings were renamed: digits, cmo+sam with sam.synchronised and cmo.calm, a cnn of widths 4 and 8."""


def test_a_checkpoint_of_version_1_opens_with_its_network_data_and_method():
    checkpoint = load_checkpoint(OLD)
    assert {"sam.synchronised", "cmo.calm"} <= set(checkpoint.method["kwargs"])
    network = build_model(checkpoint.model["name"], **checkpoint.model["kwargs"])
    network.load_state_dict(checkpoint.state_dict)
    test = open_split(checkpoint.data, "test")
    with torch.no_grad():
        right = network.eval()(test.inputs(torch.arange(len(test)))).argmax(1) == test.labels
    assert float(right.double().mean()) == pytest.approx(checkpoint.metrics["test"]["accuracy"]["all"])
    method = build_method(checkpoint.method["name"], checkpoint.data["class_counts"], **checkpoint.method["kwargs"])
    assert method.optimizer.kwargs["synchronized"] is True
    assert method.mixing.kwargs["unmixed_epochs"] == 1


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("sam", {"synchronised": True}, "sam.synchronized"),
        ("focal+sam", {"sam.synchronised": True}, "sam.synchronized"),
        ("cmo", {"calm": 2}, "cmo.unmixed_epochs"),
        ("cc-sam", {"reach": 0.5}, "cc-sam.feature_scale"),
    ],
)
def test_former_settings_are_recorded_by_their_present_names(name, old, new):
    recorded = build_method(name, [30, 7, 1], **old).record["kwargs"]
    assert recorded[new] == next(iter(old.values()))
    assert recorded.keys() == build_method(name, [30, 7, 1]).record["kwargs"].keys()


def test_the_former_search_command_runs_the_present_one():
    ended = run_command("training.search", "--help")
    assert "analyses.search" in ended.stdout and "is now python -m analyses.search" in ended.stderr


def test_nothing_else_in_training_names_what_lies_above_it():
    naming = {p.name for p in (ROOT / "training").rglob("*.py") if "analyses" in p.read_text() or "landscape." in
              p.read_text().replace("landscape.checkpoint", "")}  # fmt: skip
    assert naming == {"search.py", "run.py"}
    lines = (ROOT / "training" / "run.py").read_text().splitlines()
    above = [line for line in lines if "analyses" in line or "landscape." in line]
    assert above == ['TRACKER = "landscape.recording.training_run:track"']  # what --track means when it names none
