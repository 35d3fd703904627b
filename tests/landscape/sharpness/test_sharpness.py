from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from foundation.errors import InputError
from landscape.execution.evaluate import Evaluator
from landscape.files.landscape_file import read_landscape
from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.result import Ascent, Draw, Sharpness, SharpnessSettings
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from tests.conftest import run_command

COUNTS = [20, 20, 7, 2]
CURVATURE = np.array([1.0, 3.0, -0.5])
WEIGHTS = np.array([0.6, -0.2, 0.3])


class Parameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor(WEIGHTS))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.w.expand(len(x), -1)


def quadratic(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """w·Hw/2 + 1 for class 0, and flat for every other class."""
    rise = (torch.tensor(CURVATURE) * logits**2).sum(1) / 2
    return torch.where(labels == 0, rise, rise * 0) + 1.0


RESUME = ("done_ascents", "done_draws", "on_ascent", "on_draw")


def measured(subject: Subject, **options: object) -> Sharpness:
    resumed = {key: options.pop(key) for key in RESUME if key in options}
    return measure_sharpness(subject, settings=SharpnessSettings(**options), **resumed)


def subject_of(network: nn.Module, shape: tuple[int, ...] = (12,), **options: object) -> Subject:
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    inputs = torch.randn(len(labels), *shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    options = {"dtype": torch.float64, **options}
    return Subject(network, TensorSamples(inputs, labels), train_counts=COUNTS, **options)


def parabola() -> Subject:
    return subject_of(Parameters(), loss=quadratic, subsets=["class:0", "class:3"])


def relu_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 9), nn.ReLU(), nn.Linear(9, 4)).double()


def height(w: np.ndarray) -> np.ndarray:
    return (CURVATURE * w**2).sum(-1) / 2


def test_one_step_rises_are_the_closed_forms_of_a_quadratic() -> None:
    result = measured(parabola(), radii=[0.1, 0.4])
    gradient = CURVATURE * WEIGHTS
    assert result.gradient_norm[0] == pytest.approx(np.linalg.norm(gradient), rel=1e-12)
    for r, rho in enumerate((0.1, 0.4)):
        step = WEIGHTS + rho * gradient / np.linalg.norm(gradient)
        assert result.sam[0, r] == pytest.approx(height(step) - height(WEIGHTS), rel=1e-10)
        scaled = np.abs(WEIGHTS) * gradient
        step = WEIGHTS + rho * np.abs(WEIGHTS) * scaled / np.linalg.norm(scaled)
        assert result.adaptive[0, r] == pytest.approx(height(step) - height(WEIGHTS), rel=1e-10)


def test_several_steps_find_the_top_of_the_ball() -> None:
    radii = [0.05, 0.1, 0.2, 0.5]
    result = measured(parabola(), radii=radii, steps=12)
    ball = np.random.default_rng(0).standard_normal((200_000, 3))
    ball /= np.linalg.norm(ball, axis=1, keepdims=True)
    for r, rho in enumerate(radii):
        top = (height(WEIGHTS + rho * ball) - height(WEIGHTS)).max()
        assert result.sam_steps[0, r] == pytest.approx(top, rel=2e-3)
        assert result.sam_steps[0, r] >= result.sam[0, r]


def test_the_average_rise_of_a_quadratic_is_known() -> None:
    result = measured(parabola(), radii=[0.1, 0.3], draws=400)
    expected = np.array([0.1, 0.3]) ** 2 * (CURVATURE * WEIGHTS**2).sum() / 2
    assert (np.abs(result.average[0] - expected) <= 4 * result.average_se[0]).all()
    assert (result.average_se[0] < 0.2 * expected).all()
    np.testing.assert_allclose(result.average, result.draws.mean(2))
    np.testing.assert_allclose(result.average_se, result.draws.std(2, ddof=1) / 20)


def test_a_flat_class_is_flat_by_every_measure() -> None:
    result = measured(parabola())
    for name in ("gradient_norm", "sam", "sam_steps", "adaptive", "average", "average_se"):
        assert not getattr(result, name)[1].any(), name


def test_gradients_weigh_samples_not_batches() -> None:
    subject = subject_of(relu_network())
    result = measured(subject, radii=[0.1], steps=1, draws=2)
    for s, subset in enumerate(subject.subsets):
        rows = subject.rows(subset)
        losses = functional.cross_entropy(subject.network(subject.inputs(rows)), subject.labels[rows], reduction="none")
        parts = torch.autograd.grad(losses @ subject.weights(subset), list(subject.parameters.values()))
        expected = float(torch.cat([part.reshape(-1) for part in parts]).norm())
        assert result.gradient_norm[s] == pytest.approx(expected, rel=1e-12)


def rescaled(network: nn.Module, factor: float) -> nn.Module:
    """The same function: a ReLU layer scaled up and the next one's weights down."""
    with torch.no_grad():
        network[0].weight.mul_(factor)
        network[0].bias.mul_(factor)
        network[2].weight.div_(factor)
    return network


def test_adaptive_measures_do_not_change_when_layers_are_rescaled_and_others_do() -> None:
    plain, scaled = (measured(subject_of(rescaled(relu_network(), f)), draws=3) for f in (1.0, 8.0))
    np.testing.assert_allclose(plain.loss, scaled.loss, rtol=1e-12)
    for name in ("adaptive", "average", "average_se"):
        np.testing.assert_allclose(getattr(plain, name), getattr(scaled, name), rtol=1e-9)
    for name in ("gradient_norm", "sam", "sam_steps"):
        one, other = getattr(plain, name), getattr(scaled, name)
        assert (np.abs(one - other) > 0.05 * np.abs(one)).all(), name


def test_larger_balls_never_hold_less() -> None:
    result = measured(subject_of(relu_network()), radii=[0.01, 0.05, 0.1, 0.5, 1.0, 5.0], steps=2, draws=2)
    assert (np.diff(result.sam_steps, axis=1) >= 0).all()
    assert (result.sam_steps >= result.sam).all() and (result.sam_steps >= 0).all()


def test_equal_subsets_are_measured_once_and_say_the_same() -> None:
    labels = torch.arange(12) % 3
    data = TensorSamples(torch.randn(12, 12, generator=torch.Generator().manual_seed(1)), labels)
    subject = Subject(relu_network().float(), data, train_counts=[4, 4, 4, 0], subsets=["all", "balanced"])
    result = measured(subject, draws=2)
    for name in ("sam", "sam_steps", "adaptive"):
        assert np.array_equal(*getattr(result, name)), name


@pytest.mark.parametrize("ascents", [0, 2, 4])
@pytest.mark.parametrize("draws", [0, 2])
def test_an_interrupted_measurement_ends_as_an_uninterrupted_one(ascents: int, draws: int) -> None:
    subject = subject_of(relu_network(), subsets=["all", "balanced", "class:0", "class:3"])
    found: list[Ascent] = []
    rises: list[Draw] = []
    options = {"radii": [0.1, 0.3], "steps": 2, "draws": 4, "seed": 3, "samples_per_class": 5}
    whole = measured(subject, **options, on_ascent=found.append, on_draw=rises.append)
    again: list[Ascent] = []
    done = {"done_ascents": found[:ascents], "done_draws": rises[:draws]}
    rest = measured(subject, **options, **done, on_ascent=again.append)
    assert len(again) == 4 - ascents
    for field in dataclasses.fields(Sharpness):
        assert np.array_equal(getattr(whole, field.name), getattr(rest, field.name)), field.name


def test_errors_over_samples_are_those_of_many_draws() -> None:
    """Over many draws of samples the scatter of a rise along one direction is what its standard error says."""
    subject = subject_of(relu_network(), subsets=["all", "balanced", "class:0"])
    options = {"radii": [0.2], "steps": 1, "draws": 2}
    whole = measured(subject, **options)
    for name in ("sam_se", "sam_steps_se", "adaptive_se", "draws_se"):
        assert not getattr(whole, name).any(), name
    drawn = [measured(subject, **options, samples_per_class=6, seed=0) for _ in range(2)]
    assert np.array_equal(drawn[0].sam, drawn[1].sam) and not np.array_equal(drawn[0].sam, whole.sam)
    origin = subject.vector()
    point = origin + 0.2 * torch.randn(subject.size, generator=torch.Generator().manual_seed(4), dtype=origin.dtype)
    every = Evaluator(subject)
    truth, none = every.mean_and_error(every.losses_at(point) - every.losses_at(origin))
    assert not none.any()
    found = []
    for seed in range(150):
        some = Evaluator(subject, samples_per_class=6, seed=seed)
        found.append(some.mean_and_error(some.losses_at(point) - some.losses_at(origin)))
    means, errors = (np.stack(values) for values in zip(*found, strict=True))
    scatter = means.std(0, ddof=1)
    assert (np.abs(means.mean(0) - truth) < 4 * scatter / np.sqrt(150)).all()
    np.testing.assert_allclose(np.sqrt((errors**2).mean(0)), scatter, rtol=0.2)


def test_average_errors_hold_both_those_of_noise_and_those_of_samples() -> None:
    result = measured(subject_of(relu_network()), radii=[0.2], draws=4, samples_per_class=3)
    noise = result.draws.std(2, ddof=1) / 2
    samples = np.sqrt((result.draws_se**2).mean(2))
    np.testing.assert_allclose(result.average_se, np.hypot(noise, samples))
    assert (samples[0] > 0).all()


def test_the_command_keeps_errors_over_samples_only_where_there_are_any(small_run: Path, tmp_path: Path) -> None:
    out = tmp_path / "l.h5"
    command = ("landscape.sharpness", "--ckpt", small_run / "checkpoint.pt", "--subsets", "all,class:9", "--out", out)
    quick = ("--radii", "0.1", "--steps", "1", "--draws", "2")
    run_command(*command, *quick, "--samples-per-class", "8")
    refused = run_command(*command, *quick, check=False)
    assert refused.returncode == 2 and "samples_per_class" in refused.stderr
    run_command(*command, *quick, "--name", "whole")
    some, whole = (read_landscape(out).get("sharpness", name) for name in ("train", "whole"))
    assert some is not None and whole is not None
    assert some.config["samples_per_class"] == 8
    for key in ("sam_se", "sam_steps_se", "adaptive_se", "draws_se"):
        assert (some.data[key][0] > 0).all() and key not in whole.data
    # more draws of the same go on from what is there
    more = (*quick[:-1], "3")
    run_command(*command, *more, "--samples-per-class", "8")
    after = read_landscape(out).get("sharpness", "train")
    assert after is not None
    assert np.array_equal(after.data["draws"][..., :2], some.data["draws"])
    assert np.array_equal(after.data["sam_se"], some.data["sam_se"])


def test_weights_are_as_before() -> None:
    subject = subject_of(relu_network())
    before = subject.vector()
    measured(subject, radii=[3.0], steps=2, draws=2)
    assert torch.equal(subject.vector(), before)
    assert all(parameter.grad is None for parameter in subject.network.parameters())


def test_what_is_not_finite_stays_so() -> None:
    subject = subject_of(Parameters(), subsets=["class:0"])
    subject.loss = lambda logits, labels: torch.where(logits[:, 0] > 0.61, torch.nan, logits[:, 0] ** 2)
    result = measured(subject, radii=[0.001, 0.1], draws=2)
    for rises in (result.sam[0], result.sam_steps[0]):
        assert np.isfinite(rises[0]) and np.isnan(rises[1])


@pytest.mark.parametrize(
    ("options", "said"),
    [({"radii": []}, "--radii"), ({"radii": [0.0]}, "--radii '0'"), ({"radii": [0.2, 0.1]}, "ascend"),
     ({"steps": 0}, "--steps 0"), ({"draws": 1}, "--draws 1"), ({"samples_per_class": 1}, "--samples-per-class 1")],
)  # fmt: skip
def test_bad_numbers_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        measured(parabola(), **options)
