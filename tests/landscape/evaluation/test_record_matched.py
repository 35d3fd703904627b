"""Runs at another run's losses: which subsets meet them, at which temperature, and what is recorded of it."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from foundation.errors import InputError
from landscape.comparison.runs import open_runs
from landscape.evaluation.record_matched import match_losses
from landscape.files.identity import target_of
from landscape.files.landscape_file import read_landscape
from landscape.files.target import Target
from landscape.schema import quantities
from landscape.sharpness import matched_loss
from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.record_matched import record_matched_sharpness
from landscape.sharpness.result import Sharpness, SharpnessSettings
from tests.landscape.altered import altered

COUNTS = (20, 12, 6, 4)
SETTINGS = SharpnessSettings(radii=(0.1, 0.3), steps=2, draws=3)
SUBSETS = ["class:0", "class:1", "class:2", "class:3"]


def network(scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 9), nn.ReLU(), nn.Linear(9, 4)).double()
    with torch.no_grad():
        for parameter in net[2].parameters():
            parameter *= scale
    return net


def subject(net: nn.Module, subsets: list[str] | None = None) -> landscape.Subject:
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    inputs = torch.randn(len(labels), 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    samples = landscape.TensorSamples(inputs, labels)
    return landscape.Subject(net, samples, train_counts=COUNTS, dtype=torch.float64, subsets=subsets)


def matched(one: landscape.Subject, file: Path) -> Target:
    return dataclasses.replace(target_of(one, file), name="train-matched")


@pytest.fixture
def other(tmp_path: Path) -> Path:
    """The file of a network whose logits are three times as large."""
    file = tmp_path / "other" / "landscape.h5"
    landscape.measure(subject(network(3.0)), file)
    return file


def told_in(file: Path, name: str = "loss") -> dict[str, float]:
    evaluation = read_landscape(file).get("evaluation", "train")
    assert evaluation is not None
    return dict(zip(evaluation.subset, evaluation.data[name].tolist(), strict=True))


def test_the_slope_of_every_subset_is_that_of_its_tempered_loss(tmp_path: Path) -> None:
    one = subject(network())
    landscape.measure(one, tmp_path / "l.h5")
    losses = []
    for end in (1e-3, -1e-3):
        net = network(math.exp(-end))
        landscape.measure(subject(net), tmp_path / f"{end}.h5")
        losses.append(told_in(tmp_path / f"{end}.h5"))
    slopes = told_in(tmp_path / "l.h5", "loss_slope")
    assert {slope > 0 for slope in slopes.values()} == {True, False}
    for name, slope in slopes.items():
        assert slope == pytest.approx((losses[0][name] - losses[1][name]) / 2e-3, rel=1e-4)


def test_a_loss_that_refuses_float64_has_a_slope_too(tmp_path: Path) -> None:
    weight = torch.tensor([1.0, 2.0, 1.0, 3.0])
    labels = torch.arange(8) % 4
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    losses = [
        nn.CrossEntropyLoss(weight=weight.to(dtype), reduction="none") for dtype in (torch.float32, torch.float64)
    ]
    told = []
    for loss, dtype in zip(losses, (torch.float32, torch.float64), strict=True):
        one = landscape.Subject(network().to(dtype), (inputs.to(dtype), labels), loss=loss, dtype=dtype)
        landscape.measure(one, tmp_path / f"{dtype}.h5")
        told.append(told_in(tmp_path / f"{dtype}.h5", "loss_slope"))
    assert told[0] == pytest.approx(told[1], abs=1e-3)


def test_files_without_slopes_are_evaluated_once_more(other: Path, tmp_path: Path) -> None:
    """Those of earlier versions; as the other run's they are answered with the way out."""
    before = told_in(other, "loss_slope")
    with altered(other) as opened:
        del opened["evaluation/train/loss_slope"]
        opened["evaluation/train"].attrs["extent"] = "{}"
    one = subject(network())
    with pytest.raises(InputError, match="was evaluated on 'train' by an earlier version"):
        match_losses(one, other, matched(one, tmp_path / "l.h5"))
    landscape.measure(subject(network(3.0)), other)
    assert told_in(other, "loss_slope") == before


def test_the_lower_loss_is_lifted_to_the_higher_in_either_direction(other: Path, tmp_path: Path) -> None:
    """Whichever of a network and its copy with the head × 3 has the lower loss meets the other at the factor."""
    one, theirs = subject(network()), told_in(other)
    found = match_losses(one, other, matched(one, tmp_path / "l.h5"))
    assert found.unmatched == () and found.config == {"match_loss": read_landscape(other).checkpoint_sha256}
    landscape.measure(one, tmp_path / "own" / "l.h5")
    ours = told_in(tmp_path / "own" / "l.h5")
    lifted = {name for name in ours if ours[name] < theirs[name]}
    assert 0 < len(lifted) < len(ours)
    twin = subject(network(3.0))
    back = match_losses(twin, tmp_path / "own" / "l.h5", matched(twin, tmp_path / "m.h5"))
    assert back.unmatched == ()
    for name in ours:
        there, here = (found, back) if name in lifted else (back, found)
        assert there.temperatures[name] == pytest.approx(1 / 3 if name in lifted else 3, rel=1e-9)
        assert here.temperatures[name] == 1
        assert there.slopes[name] == pytest.approx(here.slopes[name], rel=1e-6)


def set_losses(file: Path, losses: dict[str, float], *, slope: float = -1.0) -> None:
    with altered(file) as opened:
        names = list(opened["evaluation/train/subset"].asstr()[()])
        for name, loss in losses.items():
            opened["evaluation/train/loss"][names.index(name)] = loss
            opened["evaluation/train/loss_slope"][names.index(name)] = slope


def test_a_subset_that_no_temperature_lifts_is_left_out_and_said_so(other: Path, tmp_path: Path) -> None:
    """Logits that are all alike keep their loss at every temperature."""
    net = network()
    with torch.no_grad():
        net[2].weight.zero_()
        net[2].bias.copy_(torch.tensor([0.0, 0.0, -1.0, -1.0]))
    one, file = subject(net, SUBSETS), tmp_path / "l.h5"
    set_losses(other, dict.fromkeys(SUBSETS, 3.0) | {"class:3": math.nan})
    said: list[str] = []
    result = record_matched_sharpness(one, matched(one, file), SETTINGS, other, say=said.append)
    assert result is not None and result.subset == ("class:2",)  # lifted by T < 1; of 0 and 1 the loss is at most log 4
    assert said[0] == "left out, for no temperature brings them to the other run's loss: class:0, class:1, class:3"
    assert result.loss == pytest.approx([3.0], rel=1e-9)
    measured = read_landscape(file).get("sharpness", "train-matched")
    assert measured is not None and measured.subset == result.subset and measured.data["temperature"][0] < 1
    assert measured.data["loss_slope"][0] < 0
    set_losses(other, dict.fromkeys(SUBSETS, 3.0))
    with pytest.raises(InputError, match="no temperature brings class:0, class:1 to the losses of --match-loss"):
        match_losses(one.with_subsets(SUBSETS[:2]), other, matched(one, file))
    set_losses(other, {"class:2": 3.0}, slope=1.0)  # the other's loss rises with T: no larger loss than log 4 is there
    with pytest.raises(InputError, match="no temperature brings class:2"):
        match_losses(one.with_subsets(["class:2"]), other, matched(one, file))


def test_a_file_without_that_loss_names_the_cure(other: Path, tmp_path: Path) -> None:
    one = subject(network())
    target = matched(one, tmp_path / "l.h5")
    with pytest.raises(InputError, match="has no trained loss on 'train': measure that run there with --loss trained"):
        match_losses(one, other, dataclasses.replace(target, config={**target.config, "loss": "trained"}))
    some = dataclasses.replace(SETTINGS, samples_per_class=3)
    with pytest.raises(InputError, match="--samples-per-class"):
        record_matched_sharpness(one, target, some, other)


def test_sharpness_at_a_temperature_is_that_of_the_rescaled_network(other: Path, tmp_path: Path) -> None:
    """Logits three times as large at T = 3 are the network itself: what is scale-free is the same, SAM is not."""
    landscape.measure(subject(network()), tmp_path / "own.h5", sharpness=SETTINGS)
    own = read_landscape(tmp_path / "own.h5").get("sharpness", "train")
    twin, file = subject(network(3.0)), tmp_path / "t.h5"
    lifted = record_matched_sharpness(twin, matched(twin, file), SETTINGS, tmp_path / "own.h5")
    stored = read_landscape(file).get("sharpness", "train-matched")
    assert own is not None and lifted is not None and stored is not None
    # Of the others the twin's own loss is the larger.
    rows = np.isclose(stored.data["temperature"], 3)
    assert rows.any() and np.allclose(lifted.loss[rows], own.data["loss"][rows], rtol=1e-9)
    for key in ("adaptive", "average", "draws"):
        np.testing.assert_allclose(getattr(lifted, key)[rows], own.data[key][rows], rtol=1e-9)
    assert (np.abs(lifted.sam - own.data["sam"])[rows] > 0.01 * own.data["sam"][rows]).all()


@pytest.mark.parametrize("survived", [0, 2, 4])
def test_an_interrupted_measurement_ends_as_an_uninterrupted_one(
    survived: int, other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, calls = subject(network(), SUBSETS), list[str]()

    def measured(lifted: landscape.Subject, *, settings: SharpnessSettings) -> Sharpness:
        if len(calls) == survived:
            raise KeyboardInterrupt
        calls.append(lifted.subsets[0].name)
        return measure_sharpness(lifted, settings=settings)

    whole = record_matched_sharpness(one, matched(one, tmp_path / "whole.h5"), SETTINGS, other)
    target = matched(one, tmp_path / "l.h5")
    with monkeypatch.context() as patched:
        patched.setattr(matched_loss, "measure_sharpness", measured)
        if survived < len(SUBSETS):
            with pytest.raises(KeyboardInterrupt):
                record_matched_sharpness(one, target, SETTINGS, other)
        else:
            record_matched_sharpness(one, target, SETTINGS, other)
    assert calls == SUBSETS[:survived]
    rest = record_matched_sharpness(one, target, SETTINGS, other)
    assert (rest is None) == (survived == len(SUBSETS))
    stored = read_landscape(target.file).get("sharpness", "train-matched")
    assert whole is not None and stored is not None and stored.complete
    for q in quantities(Sharpness):
        if q.asked(SETTINGS):
            np.testing.assert_array_equal(stored.data[q.name], q.of(whole), err_msg=q.name)


def test_more_subsets_continue_what_is_there(other: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few, more = subject(network(), SUBSETS[:2]), subject(network(), SUBSETS)
    target = matched(few, tmp_path / "l.h5")
    record_matched_sharpness(few, target, SETTINGS, other)
    calls = list[str]()

    def measured(lifted: landscape.Subject, *, settings: SharpnessSettings) -> Sharpness:
        calls.append(lifted.subsets[0].name)
        return measure_sharpness(lifted, settings=settings)

    monkeypatch.setattr(matched_loss, "measure_sharpness", measured)
    record_matched_sharpness(more, target, SETTINGS, other)
    assert calls == SUBSETS[2:]


def test_unmatched_subsets_of_older_files_are_not_read(other: Path, tmp_path: Path) -> None:
    """They were measured as they are, at a temperature of NaN, beside others at the other run's loss."""
    one, file = subject(network()), tmp_path / "l.h5"
    record_matched_sharpness(one, matched(one, file), SETTINGS, other)
    with altered(file) as opened:
        opened["sharpness/train-matched/temperature"][2:] = np.nan
    (run,) = open_runs([file])
    read = run.of("sharpness")["train-matched"]
    assert read.subset == tuple(subset.name for subset in one.subsets[:2])
    assert {len(read.data[key]) for key in ("loss", "adaptive", "draws", "status")} == {2}
    assert len(read.data["radius"]) == 2 and len(read.train_count) == len(read.label) == 2
    with altered(file) as opened:
        opened["sharpness/train-matched/temperature"][...] = np.nan
    assert open_runs([file])[0].of("sharpness") == {}
