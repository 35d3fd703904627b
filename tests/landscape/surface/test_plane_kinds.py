from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from foundation.errors import InputError
from landscape.execution.evaluate import Evaluator, evaluate
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from landscape.surface.drawn_curvature import drawn_curvature_at_center
from landscape.surface.measure import measure_surface
from landscape.surface.plane import Plane, random_plane
from landscape.surface.plane_kinds import checkpoints_plane, eigen_plane, gradient_plane, pca_plane
from landscape.surface.result import SurfaceSettings, barriers

COUNTS = [12, 5, 2]
SUBSETS = ["all", "few", "class:0"]


def network(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.GELU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(27, 3)
    ).eval()


def data() -> TensorSamples:
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    inputs = torch.randn(len(labels), 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return TensorSamples(inputs, labels)


def subject_of(model: nn.Module | None = None, **options: object) -> Subject:
    options = {"dtype": torch.float64, "subsets": SUBSETS, **options}
    return Subject(model or network(), data(), train_counts=COUNTS, **options)


def hessian_of(subject: Subject, name: str) -> torch.Tensor:
    """The exact dense Hessian of a subset's loss."""
    subset = next(s for s in subject.subsets if s.name == name)
    rows, weights = subject.rows(subset), subject.weights(subset)

    def loss(vector: torch.Tensor) -> torch.Tensor:
        logits = torch.func.functional_call(subject.network, subject.split(vector), (subject.inputs(rows),))
        return subject.loss(logits, subject.labels[rows]) @ weights

    return torch.autograd.functional.hessian(loss, subject.vector())


@pytest.mark.parametrize("name", ["all", "few"])
def test_eigen_planes_hold_the_eigenvectors_of_the_dense_hessian(name: str) -> None:
    subject = subject_of()
    hessian = hessian_of(subject, name)
    values, _ = torch.linalg.eigh(hessian)
    plane = eigen_plane(subject, of=name)
    for direction, value in zip(plane.directions, (values[-1], values[0]), strict=True):
        assert float(direction.norm()) == pytest.approx(1.0, abs=1e-12)
        assert float((hessian @ direction - value * direction).norm()) < 2e-3 * float(values[-1])
    assert f"λ = {float(values[-1]):.4g}" in plane.axes[0] and subject.subsets[plane.subset].name == name


def test_second_differences_along_an_eigenvector_are_its_eigenvalue_on_a_smooth_network() -> None:
    subject = subject_of()
    values, vectors = torch.linalg.eigh(hessian_of(subject, "all"))
    evaluator, step = Evaluator(subject), 1e-3
    for k in (-1, 0):
        line = Plane("eigen", subject.vector(), (vectors[:, k],), ("eigenvector",))
        up, middle, down = (evaluator.at(line.at(a)).loss[0] for a in (step, 0.0, -step))
        assert (up - 2 * middle + down) / step**2 == pytest.approx(float(values[k]), rel=1e-4)


def test_the_note_at_the_center_is_the_dense_hessians_and_what_a_smooth_network_draws() -> None:
    subject = subject_of()
    plane = random_plane(subject)
    center = drawn_curvature_at_center(subject, plane, [1e-3, 1e-3])
    for s, subset in enumerate(SUBSETS):
        hessian = hessian_of(subject, subset)
        exact = [float(d @ hessian @ d) for d in plane.directions]
        np.testing.assert_allclose(center.autodiff[s], exact, rtol=1e-9)
        np.testing.assert_allclose(center.finite_difference[s], exact, rtol=1e-4, atol=1e-7)


def test_autodiff_and_drawn_curvature_differ_with_relus() -> None:
    """A loss of kinks only: autodiff sees none of the bend that is drawn."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 40), nn.ReLU(), nn.Linear(40, 3))
    plain = lambda logits, labels: logits.abs().sum(1)  # noqa: E731
    subject = subject_of(model, loss=plain, params=["1.*"])
    center = drawn_curvature_at_center(subject, random_plane(subject), [0.3, 0.3])
    assert np.abs(center.autodiff).max() < 1e-9 < 0.1 < center.finite_difference[0].max()


def test_gradient_planes_climb_along_their_axes() -> None:
    subject = subject_of()
    plane = gradient_plane(subject, of=("all", "few"))
    evaluator, step = Evaluator(subject), 1e-5
    for axis, name in ((0, "all"), (1, "few")):
        where = [0.0, 0.0]
        where[axis] = step
        index = SUBSETS.index(name)
        rise = evaluator.at(plane.at(*where)).loss[index] - evaluator.here().loss[index]
        assert rise / step > 0
    few = torch.autograd.functional.jacobian(
        lambda v: subject.loss(
            torch.func.functional_call(subject.network, subject.split(v), (subject.inputs(slice(17, 19)),)),
            subject.labels[17:19],
        ).mean(),
        subject.vector(),
    )
    shown = sum((few @ d) ** 2 for d in plane.directions).sqrt()
    assert float(shown) == pytest.approx(float(few.norm()), rel=1e-9), "the few-shot gradient lies in the plane"


def trained(seed: int, steps: int = 25) -> nn.Module:
    model, samples = network(seed).double(), data()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    model.train()
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(samples.data), samples.labels).backward()
        optimizer.step()
    return model.eval()


def test_the_loss_at_a_planes_checkpoints_is_those_checkpoints_own() -> None:
    """Each checkpoint alone with its own recalibrated statistics says what the plane says at its coordinates."""
    models = {name: trained(seed) for seed, name in enumerate(("first", "second", "third"))}
    subjects = {n: subject_of(m, batch_norm="recalibrated", calibration=data()) for n, m in models.items()}
    first = subjects["first"]
    plane = checkpoints_plane(first.vector(), {n: subjects[n].vector() for n in ("second", "third")}, name="first")
    evaluator = Evaluator(first, calibration=data())
    for name, subject in subjects.items():
        np.testing.assert_allclose(evaluator.at(plane.at(*plane.points[name])).loss, evaluate(subject).loss, rtol=1e-9)
        assert plane.left_out[name] == pytest.approx(0.0, abs=1e-9)
        for coordinate, (low, high) in zip(plane.points[name], plane.ranges, strict=True):
            assert low < coordinate < high


def test_one_networks_buffers_would_fabricate_a_barrier() -> None:
    first, second = (subject_of(trained(seed)) for seed in (0, 0))
    with torch.no_grad():  # the same function by other weights: only its statistics differ
        for parameter, value in second.split(second.vector()).items():
            if parameter.startswith("0."):
                second.parameters[parameter].copy_(value * 4)
    line = checkpoints_plane(first.vector(), {"second": second.vector()})
    fixed = [Evaluator(first).at(line.at(a)).loss[0] for a in line.ranges[0]]
    assert abs(fixed[1] - fixed[0]) > 0.05
    with pytest.raises(InputError, match="would show barriers"):
        measure_surface(first, plane=line)
    calibrated = subject_of(trained(0), batch_norm="recalibrated", calibration=data())
    fresh = measure_surface(calibrated, plane=line, settings=SurfaceSettings(points=9))
    assert fresh.loss[0, 0, -1] == pytest.approx(fresh.loss[0, 0, 0], rel=1e-3)


def test_a_line_runs_from_one_checkpoint_to_the_other() -> None:
    first, second = subject_of(), subject_of(network(5))
    line = checkpoints_plane(first.vector(), {"second": second.vector()})
    surface = measure_surface(first, plane=replace(line, kind="gradient"), settings=SurfaceSettings(points=7))
    assert surface.loss.shape == (3, 1, 7)
    assert torch.equal(line.at(float(surface.a[0])), first.vector())
    torch.testing.assert_close(line.at(float(surface.a[-1])), second.vector(), rtol=1e-12, atol=1e-13)


def test_barriers_are_what_rises_above_the_straight_line() -> None:
    loss = np.array([[1, 2, 3, 4, 5], [1, 5, 2, 2, 3], [2, 0, 0, 0, 2]], dtype=float)
    np.testing.assert_allclose(barriers(loss), [0.0, 3.5, 0.0], atol=1e-12)


def test_pca_planes_find_the_plane_of_a_path_and_say_what_they_leave_out() -> None:
    generator = torch.Generator().manual_seed(0)
    origin = torch.randn(300, generator=generator, dtype=torch.float64)
    one, two, three = torch.linalg.qr(torch.randn(300, 3, generator=generator, dtype=torch.float64)).Q.T
    path = {f"epoch {k}": origin + (5 - k) * one + (k - 2) ** 2 * two for k in range(5)}
    path["stray"] = origin + 0.3 * one + 0.4 * three
    plane = pca_plane(origin, path)
    span = torch.stack(plane.directions)
    for truth in (one, two):
        assert float((span @ truth).norm()) == pytest.approx(1.0, abs=0.02)
    for name, weights in path.items():
        offset = weights - origin
        shown = float((span @ offset).norm())
        assert plane.left_out[name] == pytest.approx(np.sqrt(1 - (shown / float(offset.norm())) ** 2), abs=1e-9)
    assert plane.left_out["stray"] > 0.7 > 0.1 > plane.left_out["epoch 0"]
    assert "principal component 1" in plane.axes[0] and "%" in plane.axes[0]


def test_planes_that_cannot_be_are_refused() -> None:
    subject = subject_of()
    here = subject.vector()
    with pytest.raises(InputError, match="0 snapshots"):
        pca_plane(here, {"last": here})
    with pytest.raises(InputError, match="span a line"):
        checkpoints_plane(here, {"a": here + 1, "b": here - 1})
    with pytest.raises(InputError, match="names 0 checkpoints"):
        checkpoints_plane(here, {})
    with pytest.raises(InputError, match="length 0"):
        checkpoints_plane(here, {"same": copy.copy(here)})
    with pytest.raises(InputError, match="'medium'"):
        eigen_plane(subject, of="medium")
