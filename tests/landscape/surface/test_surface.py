from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from foundation.errors import InputError
from landscape.execution.evaluate import Evaluator
from landscape.files.landscape_file import Measurement, read_array, read_landscape
from landscape.files.unit_folder import UnitFolder
from landscape.schema import FAILED, INTERPOLATED, MEASURED, NON_FINITE
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from landscape.surface.axes import automatic_span, axes
from landscape.surface.measure import measure_surface
from landscape.surface.plane import Plane, random_plane
from landscape.surface.result import Cell, Surface, SurfaceSettings
from tests.conftest import run_command, run_process

COUNTS = [30, 9, 2]


def network(activation: type[nn.Module] = nn.ReLU) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), activation(), nn.Flatten(), nn.Linear(4 * 36, 3)).eval()


def subject_of(model: nn.Module | None = None, **options: object) -> Subject:
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    inputs = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(1))
    return Subject(model or network(), TensorSamples(inputs, labels), train_counts=COUNTS, **options)


def measured(subject: Subject, **options: object) -> Surface:
    others = {key: options.pop(key) for key in ("plane", "done", "on_done") if key in options}
    return measure_surface(subject, settings=SurfaceSettings(**options), **others)


class Bowl(nn.Module):
    """A loss that is known everywhere: log(C) + w·w/2 on every sample of class 0, and flat for the others."""

    def __init__(self, size: int = 2) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.zeros(size, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w.reshape(1, -1).expand(len(x), -1)


def bowl_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    scale = torch.tensor([1.0, 0.0, 0.0], device=labels.device, dtype=logits.dtype)[labels]
    return scale * (logits[:, :1] ** 2 + 3 * logits[:, 1:2] ** 2).sum(1) / 2 + 1.0


def bowl() -> tuple[Subject, Plane]:
    subject = subject_of(Bowl(), loss=bowl_loss, dtype=torch.float64)
    one, two = torch.eye(2, dtype=torch.float64)
    return subject, Plane("gradient", subject.vector(), (one, two), ("first", "second"))


@given(across=st.integers(3, 9), up=st.integers(3, 9))
@settings(max_examples=15, deadline=None)
def test_non_square_grids_put_a_across_and_b_up(across: int, up: int) -> None:
    subject, plane = bowl()
    surface = measured(subject, plane=plane, points=(across, up), span=(2.0, 0.5), tolerance=None)
    assert surface.loss.shape == (len(subject.subsets), up, across)
    assert (surface.a[0], surface.a[-1], surface.b[0], surface.b[-1]) == (-2.0, 2.0, -0.5, 0.5)
    a, b = np.meshgrid(surface.a, surface.b)
    truth = (a**2 + 3 * b**2) / 2
    names = list(surface.subset)
    np.testing.assert_allclose(surface.loss[names.index("class:0")], 1 + truth, rtol=1e-12)
    np.testing.assert_allclose(surface.loss[names.index("class:2")], 1.0, rtol=1e-12)
    np.testing.assert_allclose(surface.loss[names.index("all")], 1 + truth * 30 / 41, rtol=1e-12)
    np.testing.assert_allclose(surface.loss[names.index("balanced")], 1 + truth / 3, rtol=1e-12)


def test_every_cell_is_the_plain_evaluation_at_its_coordinates() -> None:
    subject = subject_of()
    surface = measured(subject, points=(5, 3), span=0.7, tolerance=None, seed=4)
    plane = random_plane(subject, seed=4)
    for row, b in enumerate(surface.b):
        for column, a in enumerate(surface.a):
            with subject.placed(subject.vector() + a * plane.directions[0] + b * plane.directions[1]), torch.no_grad():
                logits = subject.network(subject.inputs(slice(0, None)))
            losses = nn.functional.cross_entropy(logits, subject.labels, reduction="none")
            for s, subset in enumerate(subject.subsets):
                expected = float(losses[subject.rows(subset)].double() @ subject.weights(subset))
                assert surface.loss[s, row, column] == pytest.approx(expected, rel=1e-5)
    assert (surface.status == MEASURED).all() and not surface.error.any()


def test_the_middle_cell_is_exactly_the_trained_network() -> None:
    subject = subject_of()
    surface = measured(subject, points=11, span=0.3)
    here = Evaluator(subject).here()
    assert surface.a[5] == 0.0 and surface.b[5] == 0.0
    assert np.array_equal(surface.loss[:, 5, 5], here.loss)
    assert np.array_equal(surface.accuracy[:, 5, 5], here.accuracy)


def test_weights_buffers_and_modes_are_untouched_by_a_surface() -> None:
    model = network()
    calibration = TensorSamples(torch.randn(20, 1, 8, 8), torch.zeros(20))
    subject = subject_of(model, batch_norm="recalibrated", calibration=calibration)
    before = {name: tensor.clone() for name, tensor in subject.network.state_dict().items()}
    theirs = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    measured(subject, points=5, span=2.0)
    for name, tensor in subject.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name
        assert torch.equal(model.state_dict()[name], theirs[name]), name
    assert not any(module.training for module in subject.network.modules())
    assert all(parameter.grad is None for parameter in subject.network.parameters())


def test_weights_are_restored_after_an_interrupt() -> None:
    subject = subject_of()
    before = subject.vector()

    def stop(cell: Cell) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured(subject, points=5, span=1.0, on_done=stop)
    assert torch.equal(subject.vector(), before)


def test_nan_cells_are_kept_and_counted_never_replaced() -> None:
    subject, plane = bowl()
    plain = subject.loss

    def broken(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        losses = plain(logits, labels)
        return torch.where(logits[:, 0] > 0.55, torch.where(labels == 0, torch.nan, losses), losses)

    subject.loss = broken
    surface = measured(subject, plane=plane, points=21, span=1.0)
    bad = np.repeat(surface.a[None] > 0.55, 21, axis=0)
    assert (surface.status[bad] == NON_FINITE).all() and not (surface.status[~bad] == NON_FINITE).any()
    names = list(surface.subset)
    assert np.isnan(surface.loss[names.index("class:0")][bad]).all()
    assert np.isfinite(surface.loss[names.index("class:2")]).all(), "a class that is finite stays so"
    assert np.isfinite(surface.loss[:, ~bad]).all()


def test_a_point_that_fails_is_marked_and_tried_again() -> None:
    subject, plane = bowl()
    plain, fails = subject.loss, True

    def sometimes(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if fails and float(logits.detach()[0, 0]) > 0.9:
            raise RuntimeError("no memory")
        return plain(logits, labels)

    subject.loss = sometimes
    cells: list[Cell] = []
    first = measured(subject, plane=plane, points=5, span=1.0, on_done=cells.append)
    assert (first.status[:, -1] == FAILED).all() and np.isnan(first.loss[:, :, -1]).all()
    fails = False
    again: list[Cell] = []
    second = measured(subject, plane=plane, points=5, span=1.0, done=cells, on_done=again.append)
    assert {(c.row, c.column) for c in again} == {(row, 4) for row in range(5)}
    assert (second.status == MEASURED).all()


def test_a_network_that_fails_at_its_own_weights_is_an_error() -> None:
    subject, plane = bowl()

    def failing(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("never works")

    subject.loss = failing
    with pytest.raises(InputError, match=r"the loss does not take logits \(41, 2\).*never works"):
        measured(subject, plane=plane, points=5, span=1.0)


@pytest.mark.parametrize("tolerance", [None, 0.05])
@pytest.mark.parametrize("kept", [0, 7, 30])
def test_an_interrupted_surface_ends_as_an_uninterrupted_one(tolerance: float | None, kept: int) -> None:
    subject = subject_of()
    cells: list[Cell] = []
    whole = measured(subject, points=(13, 11), span=1.0, tolerance=tolerance, on_done=cells.append)
    rest: list[Cell] = []
    again = measured(subject, points=(13, 11), span=1.0, tolerance=tolerance, done=cells[:kept], on_done=rest.append)
    assert len(rest) == len(cells) - min(kept, len(cells))
    for name in ("loss", "accuracy", "loss_se", "status", "error"):
        assert np.array_equal(getattr(whole, name), getattr(again, name)), name


def test_interpolated_cells_say_so() -> None:
    subject, plane = bowl()
    surface = measured(subject, plane=plane, points=41, span=1.0)
    between = surface.status == INTERPOLATED
    assert between.mean() > 0.8 and surface.evaluations == int((~between).sum())
    a, b = np.meshgrid(surface.a, surface.b)
    wrong = np.abs(surface.loss[0] - 1 - (a**2 + 3 * b**2) / 2 * 30 / 41)
    assert wrong.max() <= 0.01 * np.ptp(surface.loss[0])
    assert not surface.error[:, ~between].any() and (surface.error[0, between] > 0).all()


def test_a_line_has_one_row() -> None:
    subject, plane = bowl()
    line = Plane("gradient", plane.origin, plane.directions[:1], ("first",))
    surface = measured(subject, plane=line, points=9, span=1.0)
    assert surface.loss.shape == (len(subject.subsets), 1, 9) and np.array_equal(surface.b, [0.0])
    np.testing.assert_allclose(surface.loss[0, 0], 1 + surface.a**2 / 2 * 30 / 41, rtol=1e-12)


def test_the_automatic_span_is_the_first_rung_where_the_loss_has_risen_enough() -> None:
    subject, plane = bowl()
    first, second = automatic_span(Evaluator(subject), plane)
    rise = math.log(3) / 2
    for span, curvature in ((first, 1.0), (second, 3.0)):
        assert curvature * span**2 / 2 * 30 / 41 >= rise > curvature * (span / 2) ** 2 / 2 * 30 / 41
    assert (first, second) == (2.0, 1.0)


def test_the_automatic_span_ends_where_all_samples_have_lost_their_training() -> None:
    """The plane of a class whose own loss is flat: without the others it would reach to a million."""
    subject, plane = bowl()
    flat = [subset.name for subset in subject.subsets].index("class:1")
    assert automatic_span(Evaluator(subject), replace(plane, subset=flat)) == (2.0, 1.0)


def test_the_automatic_span_of_a_random_plane_is_the_same_for_both_axes() -> None:
    subject = subject_of()
    first, second = automatic_span(Evaluator(subject), random_plane(subject))
    assert first == second > 0


def test_symmetric_axes_are_exactly_symmetric() -> None:
    _, plane = bowl()
    for points in (3, 10, 51):
        a, _ = axes(plane, points=points, span=0.1)
        assert np.array_equal(a, -a[::-1]) and a[-1] == 0.1


@pytest.mark.parametrize(
    ("options", "said"),
    [({"points": 2}, "--points 2"), ({"span": 0.0}, "--span 0"), ({"span": math.nan}, "--span nan"),
     ({"tolerance": 0.0}, "--tolerance 0"), ({"plane": "flat"}, "'flat'")],
)  # fmt: skip
def test_bad_numbers_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        measured(subject_of(), **{"span": 1.0, **options})


def test_constant_surfaces_come_only_from_constant_losses() -> None:
    surface = measured(subject_of(), points=9, span=1.0)
    assert (np.ptp(surface.loss, axis=(1, 2)) > 0.01).all()


def test_few_samples_of_each_class_come_with_standard_errors() -> None:
    subject = subject_of()
    whole = measured(subject, points=5, span=0.5, tolerance=None)
    drawn = measured(subject, points=5, span=0.5, tolerance=None, samples_per_class=15, seed=2)
    names = list(whole.subset)
    assert not whole.loss_se.any() and not drawn.loss_se[names.index("class:1")].any()
    for name in ("all", "balanced", "class:0"):
        s = names.index(name)
        assert (drawn.loss_se[s] > 0).all()
        assert (np.abs(drawn.loss[s] - whole.loss[s]) < 5 * drawn.loss_se[s]).all()


def surface_in(path: Path, name: str) -> Measurement:
    found = read_landscape(path).get("surface", name)
    assert found is not None and found.complete
    return found


SMALL = ("--subsets", "all,few,class:9", "--samples-per-class", "8", "--points", "5x4")


def test_the_command_writes_what_the_contract_names(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.h5"
    run_command("landscape.surface", "--ckpt", small_run / "checkpoint.pt", *SMALL, "--out", out)
    found = surface_in(out, "train")
    assert {k: v for k, v in found.dims.items() if k in ("loss", "status", "error")} == {
        "loss": ("subset", "b", "a"), "status": ("b", "a"), "error": ("subset", "b", "a")
    }  # fmt: skip
    assert found.data["loss"].shape == found.data["accuracy"].shape == (3, 4, 5)
    assert found.data["a"].shape == (5,) and (found.data["loss_se"][0] > 0).all()
    evaluation = read_landscape(out).get("evaluation", "train")
    assert evaluation is not None and evaluation.subset[:2] == ("all", "balanced")
    assert found.data["curvature_autodiff"].shape == found.data["curvature_drawn"].shape == (3, 2)
    directions = read_array(out, "surface/train/directions/1"), read_array(out, "surface/train/directions/2")
    assert abs(directions[0] @ directions[1]) < 1e-4 * np.linalg.norm(directions[0]) ** 2


@pytest.mark.parametrize(
    ("plane", "name"),
    [
        (("gradient",), "train-gradient"),
        (("eigen", "--of", "9"), "train-eigen-class-9"),
        (("pca",), "train-pca"),
    ],
)
def test_the_command_cuts_other_planes(small_run: Path, tmp_path: Path, plane: tuple[str, ...], name: str) -> None:
    out = tmp_path / "l.h5"
    run_command("landscape.surface", "--ckpt", small_run / "checkpoint.pt", *SMALL, "--plane", *plane, "--out", out)
    found = surface_in(out, name)
    assert np.isfinite(found.data["loss"]).all() and len(found.attributes["axes"]) == 2
    if plane == ("pca",):
        assert found.config["batch_norm"] == "recalibrated"
        assert found.data["trajectory/coordinates"].shape == (len(found.data["trajectory/point"]), 2)
        assert (found.data["trajectory/hidden_share"] <= 1).all()


def test_bfloat16_is_another_measurement_and_states_its_error(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.h5"
    command = ("landscape.surface", "--ckpt", small_run / "checkpoint.pt", *SMALL, "--span", "0.5", "--out", out)
    run_command(*command, "--points", "5")
    refused = run_command(*command, "--points", "5", "--precision", "bfloat16", check=False)
    assert refused.returncode == 2 and "precision" in refused.stderr
    run_command(*command, "--points", "5", "--precision", "bfloat16", "--name", "rough")
    full, rough = surface_in(out, "train"), surface_in(out, "rough")
    assert (full.attributes["forward"], rough.attributes["forward"]) == ("folded", "folded, bfloat16")
    assert "precision_error" not in full.data
    wrong = rough.data["loss"][:, 2, 2] - full.data["loss"][:, 2, 2]
    np.testing.assert_allclose(rough.data["precision_error"], wrong, atol=1e-6)
    assert 0 < np.abs(wrong).max() < 0.05 * full.data["loss"].max()


def test_the_command_draws_a_line_with_its_barriers(small_run: Path, tmp_path: Path) -> None:
    out, other = tmp_path / "l.h5", sorted((small_run / "snapshots").glob("*.pt"))[0]
    through = ("--plane", "checkpoints", "--through", other)
    run_command("landscape.surface", "--ckpt", small_run / "checkpoint.pt", *SMALL, *through, "--out", out)
    found = surface_in(out, "train-checkpoints")
    assert found.data["loss"].shape == (3, 1, 5) and (found.data["barrier"] >= 0).all()
    assert list(found.data["trajectory/point"]) == ["this checkpoint", str(other)]


@pytest.mark.exhaustive
def test_an_eigen_plane_goes_on_with_the_directions_it_began_with(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.h5"
    command = ("landscape.surface", "--ckpt", small_run / "checkpoint.pt", *SMALL, "--plane", "eigen", "--out", out)
    killed = run_process("tests.kill_at", "landscape.files.units:Recording.flush", 5, *command, check=False)
    assert killed.returncode == -9, killed.stderr
    folder = UnitFolder(tmp_path / "l.surface.train-eigen.partial")
    (head,) = folder.heads()
    flipped = -folder.contents(head).datasets["directions/1"].values  # as if a solver had found the other sign before
    folder.write(head, [("write", ("directions/1", slice(None), flipped))], 0.0)
    run_command(*command)
    assert np.array_equal(read_array(out, "surface/train-eigen/directions/1"), flipped)


def test_an_eigen_plane_takes_the_vectors_that_were_measured(small_run: Path, tmp_path: Path) -> None:
    out, checkpoint = tmp_path / "l.h5", ("--ckpt", small_run / "checkpoint.pt")
    run_command("landscape.hessian", *checkpoint, "--subsets", "class:9", "--top", "1", "--cross", "--out", out)
    run_command("landscape.surface", *checkpoint, *SMALL, "--plane", "eigen", "--of", "class:9", "--out", out)
    for axis, end in enumerate(("top", "bottom"), start=1):
        measured = read_array(out, f"hessian/train/vectors/{end}")[0, 0]
        direction = read_array(out, f"surface/train-eigen-class-9/directions/{axis}")
        assert abs(float(measured @ direction)) == pytest.approx(1, abs=1e-5)
        value = read_landscape(out).get("hessian", "train").data[end][0, 0]
        assert f"{value:.4g}" in str(surface_in(out, "train-eigen-class-9").attributes)


def test_each_axis_can_have_its_own_span(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.h5"
    run_command("landscape.surface", "--ckpt", small_run / "checkpoint.pt", *SMALL, "--span", "0.2,3", "--out", out)
    found = surface_in(out, "train")
    assert (found.data["a"][-1], found.data["b"][-1]) == (0.2, 3.0) and found.config["span"] == [0.2, 3.0]


def test_finer_grids_and_exact_ones_go_on_from_what_is_there(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.h5"
    command = ("landscape.surface", "--ckpt", small_run / "checkpoint.pt", *SMALL[:4], "--span", "0.5", "--out", out)
    run_command(*command, "--points", "13")
    coarse = surface_in(out, "train")
    run_command(*command, "--points", "25", "--exact")
    fine = surface_in(out, "train")
    assert (fine.data["status"] == MEASURED).all() and fine.data["loss"].shape == (3, 25, 25)
    measured = coarse.data["status"] == MEASURED
    assert np.array_equal(fine.data["loss"][:, ::2, ::2][:, measured], coarse.data["loss"][:, measured])


@pytest.mark.parametrize(
    ("options", "said"),
    [(("--plane", "checkpoints"), "--through"), (("--through", "a.pt"), "--through"), (("--of", "few"), "--of few"),
     (("--plane", "eigen", "--of", "class:77"), "class:77"), (("--points", "2"), "--points 2"),
     (("--plane", "checkpoints", "--through", "no.pt"), "no.pt"), (("--samples-per-class", "1"), "per-class 1"),
     (("--tolerance", "7"), "--tolerance 7"), (("--span", "1,-2"), "--span -2")],
)  # fmt: skip
def test_the_command_refuses_what_makes_no_surface(
    small_run: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = run_command(
        "landscape.surface", "--ckpt", small_run / "checkpoint.pt", *options, "--out", tmp_path / "l.h5", check=False
    )
    assert done.returncode == 2 and done.stderr.count("\n") == 1 and said in done.stderr
    assert not list(tmp_path.glob("l*h5"))
