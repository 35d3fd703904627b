"""An own network gets into a file by the public names, as checkpoints do by the commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import landscape
from foundation.errors import InputError
from landscape.files.identity import subject_config, weights_sha256
from landscape.files.units import Recording
from landscape.notebook import LandscapeFile
from tests.conftest import run_command
from tests.landscape.files.test_version_1 import OLD
from tests.test_commands import datasets

COUNTS = [12, 8, 4]
LITTLE = {
    "hessian": landscape.HessianSettings(top=2, probes=3, intervals=False),
    "sharpness": landscape.SharpnessSettings(steps=1, draws=2, radii=(0.1,)),
    "surface": landscape.SurfaceSettings(points=5, span=0.5),
}


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)).eval()


def samples(seed: int = 1) -> landscape.TensorSamples:
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    return landscape.TensorSamples(torch.randn(24, 1, 4, 4, generator=torch.Generator().manual_seed(seed)), labels)


def subject_of(model: nn.Module | None = None, **options: object) -> landscape.Subject:
    data = options.pop("samples", None) or samples()
    return landscape.Subject(model or network(), data, train_counts=COUNTS, **options)


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("own") / "made" / "mine.h5"
    landscape.measure(subject_of(), file, **LITTLE)
    return file


def test_a_measured_network_makes_a_page_figures_and_a_notebook(measured: Path, tmp_path: Path) -> None:
    found = landscape.read_landscape(measured)
    assert [(m.analysis, m.name, m.complete) for m in found.measurements] == [
        (analysis, "train", True) for analysis in ("evaluation", "hessian", "sharpness", "surface")
    ]
    page = landscape.write_report([measured], tmp_path / "report.html")
    assert page.runs == ("mine",) and page.size > 100_000
    assert landscape.write_figures([measured], tmp_path / "figures", formats=("svg",)).paths
    assert isinstance(landscape.open(measured), LandscapeFile)


def test_the_file_holds_what_the_measuring_functions_return(measured: Path) -> None:
    found = landscape.read_landscape(measured)
    sharpness = landscape.measure_sharpness(subject_of(), settings=LITTLE["sharpness"])
    surface = landscape.measure_surface(subject_of(), settings=LITTLE["surface"])
    for analysis, result in (("sharpness", sharpness), ("surface", surface)):
        data = result.to_xarray()
        stored = found.get(analysis, "train").data
        for name in data.data_vars:
            if name in stored:  # standard errors of all samples are zero and not stored
                np.testing.assert_array_equal(data[name].values, stored[name], err_msg=name)
        assert {"loss", "subset"} <= set(data.variables) and data["loss"].attrs["units"] == "nat"


def test_the_same_call_measures_nothing_again(measured: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(record: Recording) -> None:
        pytest.fail("something was written")

    monkeypatch.setattr(Recording, "flush", refuse)
    landscape.measure(subject_of(), measured, **LITTLE)


@pytest.mark.parametrize("units", [*(pytest.param(n, marks=pytest.mark.exhaustive) for n in (1, 3, 8)), 5])
def test_an_interrupted_call_continues(measured: Path, tmp_path: Path, units: int, monkeypatch) -> None:
    """Stopped after any unit of work, the same call ends with the very numbers of an undisturbed one."""
    left, flush = units, Recording.flush

    def interrupt(record: Recording) -> None:
        nonlocal left
        flush(record)
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    file = tmp_path / "mine.h5"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Recording, "flush", interrupt)
        landscape.measure(subject_of(), file, **LITTLE)
    landscape.measure(subject_of(), file, **LITTLE)
    ours, theirs = datasets(file), datasets(measured)
    assert ours == theirs


def test_saved_results_are_those_of_measure(measured: Path, tmp_path: Path) -> None:
    subject, file = subject_of(), tmp_path / "mine.h5"
    landscape.save(landscape.measure_hessian(subject, settings=LITTLE["hessian"]), file, subject)
    landscape.save(landscape.measure_sharpness(subject, settings=LITTLE["sharpness"]), file, subject)
    landscape.save(landscape.measure_surface(subject, settings=LITTLE["surface"]), file, subject)
    ours, theirs = datasets(file), datasets(measured)
    assert ours.keys() == theirs.keys()
    timed = {name for name in ours if ours[name] != theirs[name]}
    assert timed == set()
    landscape.write_report([file], tmp_path / "report.html")


def test_a_result_of_other_subsets_is_refused(tmp_path: Path) -> None:
    subject = subject_of()
    result = landscape.measure_sharpness(subject.with_subsets(["all"]), settings=LITTLE["sharpness"])
    with pytest.raises(InputError, match="give the one that was measured"):
        landscape.save(result, tmp_path / "mine.h5", subject)
    assert not list(tmp_path.iterdir())


@pytest.mark.exhaustive
def test_every_plane_gets_into_the_file_under_its_own_name(tmp_path: Path) -> None:
    subject = subject_of(batch_norm="recalibrated")
    other = {"other": subject_of(network(3)).vector(), "third": subject_of(network(4)).vector()}
    options: dict[str, dict[str, object]] = {
        "random": {}, "gradient": {}, "eigen": {"of": ["class:2"]}, "checkpoints": {"others": other},
        "pca": {"others": other},
    }  # fmt: skip
    for plane, more in options.items():
        found = landscape.measure(subject, tmp_path / "l.h5", surface=LITTLE["surface"], plane=plane, **more)
    names = {m.name for m in found.measurements if m.analysis == "surface"}
    assert names == {"train", "train-gradient", "train-eigen-class-2", "train-checkpoints", "train-pca"}
    made = landscape.gradient_plane(subject, of=("class:1", "class:2"))
    found = landscape.measure(subject, tmp_path / "l.h5", surface=LITTLE["surface"], plane=made, name="mine")
    assert found.get("surface", "mine").config["directions"]


def test_identity_is_weights_and_data(measured: Path, tmp_path: Path) -> None:
    """What differs in weights is another network; in data, statistics or loss another measurement of it."""
    with pytest.raises(InputError, match="another checkpoint"):
        landscape.measure(subject_of(network(5)), measured)
    with pytest.raises(InputError, match=r"evaluation/train .* has data"):
        landscape.measure(subject_of(samples=samples(9)), measured)
    other = network()
    other[2].running_mean += 1
    with pytest.raises(InputError, match=r"evaluation/train .* has buffers"):
        landscape.measure(subject_of(other), measured)
    other = subject_of(loss=lambda logits, labels: logits.square().sum(1))
    with pytest.raises(InputError, match=r"evaluation/train .* has loss"):
        landscape.measure(other, measured)
    single, double = subject_of(), subject_of(dtype=torch.float64)
    assert weights_sha256(single) == weights_sha256(double)
    assert subject_config(single)["dtype"] != subject_config(double)["dtype"]


def test_a_bad_name_or_folder_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot name a measurement"):
        landscape.measure(subject_of(), tmp_path / "l.h5", name="a/b")
    with pytest.raises(InputError, match="cannot be written"):
        landscape.measure(subject_of(), tmp_path / "file" / "l.h5")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file"]


def test_what_is_left_out_and_what_it_costs_is_said_on_request(tmp_path: Path, capsys) -> None:
    labels = torch.tensor([0] * 6 + [1] * 6)
    data = landscape.TensorSamples(torch.randn(12, 1, 4, 4, generator=torch.Generator().manual_seed(1)), labels)
    heard: list[str] = []
    landscape.measure(subject_of(samples=data), tmp_path / "l.h5", sharpness=LITTLE["sharpness"], say=heard.append)
    assert heard[0] == "left out, for want of samples here: few, class:2"
    assert "forward passes" in heard[1]
    assert capsys.readouterr() == ("", "")


def test_results_show_themselves_in_a_line() -> None:
    sharpness = landscape.measure_sharpness(subject_of(), settings=LITTLE["sharpness"])
    surface = landscape.measure_surface(subject_of(), settings=LITTLE["surface"])
    assert repr(sharpness).startswith("<Sharpness of 8 subsets: the largest increase within radius 0.1 is ")
    assert repr(surface) == "<Surface of 8 subsets, random, 5 × 5: 25 cells measured>"
    frame = sharpness.to_frame()
    assert (
        list(frame.index.names) == ["subset", "radius"] and frame.loc[("class:2", 0.1), "sam"] == sharpness.sam[-1, 0]
    )
    assert len(surface.to_frame()) == 8 * 25


def test_a_checkpoint_is_measured_as_by_the_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the command has measured the same call finds done."""
    checkpoint, file = OLD / "checkpoint.pt", tmp_path / "l.h5"
    options = ("--subsets", "class:9", "--steps", "1", "--draws", "2", "--radii", "0.1")
    run_command("landscape.sharpness", "--ckpt", checkpoint, *options, "--out", file)
    monkeypatch.setattr(Recording, "flush", lambda record: pytest.fail("something was written"))
    opened = landscape.open_checkpoint(checkpoint, subsets=["class:9"])
    found = landscape.measure(opened, file, sharpness=LITTLE["sharpness"])
    assert found.get("sharpness", "train").subset == ("class:9",)
