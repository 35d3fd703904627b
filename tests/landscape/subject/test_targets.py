"""Losses of other targets than classes, and subsets by masks, against plain autograd."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from foundation.errors import InputError
from landscape.execution.checks import check_loss
from landscape.execution.evaluate import Evaluator, evaluate
from landscape.hessian.measure import measure_hessian
from landscape.hessian.result import HessianSettings
from landscape.recording.measure import measure
from landscape.report import write_report
from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.result import SharpnessSettings
from landscape.subject.subject import Subject
from landscape.surface.result import SurfaceSettings

N = 14
FAST = HessianSettings(top=2, tol=1e-8, intervals=True)


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bce(outputs, targets):
    return functional.binary_cross_entropy_with_logits(outputs, targets, reduction="none")


def squared(outputs, targets):
    return (outputs - targets).square()


def pixels(outputs, targets):
    return functional.cross_entropy(outputs, targets, reduction="none")


def tokens(outputs, targets):
    return functional.cross_entropy(outputs.transpose(1, 2), targets, reduction="none")


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.words, self.mix, self.head = nn.Embedding(5, 2), nn.Linear(2, 2), nn.Linear(2, 5)

    def forward(self, ids):
        return self.head(torch.tanh(self.mix(self.words(ids)).cumsum(1)))


def tasks() -> dict[str, tuple[nn.Module, torch.Tensor, torch.Tensor, object]]:
    torch.manual_seed(0)
    ids = torch.randint(0, 5, (N, 4), generator=torch.Generator().manual_seed(1))
    return {
        "multi-label": (
            nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3)), drawn(N, 4),
            (drawn(N, 3, seed=1) > 0).double(), bce,
        ),
        "regression": (
            nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), drawn(N, 4), drawn(N, 2, seed=1), squared,
        ),
        "one number": (
            nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 1), nn.Flatten(0)), drawn(N, 4),
            drawn(N, seed=1), squared,
        ),
        "segmentation": (
            nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.Tanh(), nn.Conv2d(2, 3, 1)), drawn(N, 1, 4, 4),
            torch.randint(0, 3, (N, 4, 4), generator=torch.Generator().manual_seed(1)), pixels,
        ),
        "language model": (Words(), ids, ids.roll(-1, 1), tokens),
    }  # fmt: skip


def masks() -> dict[str, torch.Tensor]:
    """Two that overlap, one that cuts neither, one of a single sample."""
    places = torch.arange(N)
    return {"even": places % 2 == 0, "third": places % 3 == 0, "late": places >= 9, "one": places == 4}


def reference(net, x, y, loss, inside) -> tuple[float, torch.Tensor, torch.Tensor]:
    """Loss, gradient and dense Hessian of the mean over some samples of each one's mean loss."""
    parameters = list(net.parameters())
    value = loss(net(x[inside]), y[inside]).mean()
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(value, parameters, create_graph=True)])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True) for g in gradient]
    return (
        float(value.detach()),
        gradient.detach(),
        torch.stack([torch.cat([p.flatten() for p in row]) for row in rows]),
    )


@pytest.mark.parametrize("task", list(tasks()))
def test_curvature_of_every_subset_is_that_of_plain_autograd(task):
    net, x, y, loss = tasks()[task]
    net = net.double()
    subject = Subject(net, (x, y), loss=loss, subsets=masks(), dtype=torch.float64)
    assert [s.name for s in subject.subsets] == ["all", "even", "third", "late", "one"]
    assert {s.kind for s in subject.subsets} == {"all", "subset"}
    result, found = measure_hessian(subject, settings=FAST), evaluate(subject)
    inside = {"all": torch.ones(N, dtype=torch.bool)} | masks()
    for row, (name, mask) in enumerate(inside.items()):
        value, gradient, hessian = reference(net, x, y, loss, mask)
        eigenvalues, curvature = torch.linalg.eigvalsh(hessian), result.of(name)
        assert curvature.loss == pytest.approx(value, rel=1e-12) and found.loss[row] == pytest.approx(value, rel=1e-12)
        assert curvature.gradient_norm == pytest.approx(float(gradient.norm()), rel=1e-10)
        assert curvature.top.values[:2] == pytest.approx(eigenvalues.flip(0)[:2].numpy(), rel=1e-6)
        assert curvature.bottom.outermost == pytest.approx(float(eigenvalues[0]), rel=1e-6, abs=1e-9)
        assert abs(curvature.trace.value - float(hessian.trace())) <= 3 * curvature.trace.half_width + 1e-8
        w = torch.cat([p.detach().flatten() for p in net.parameters()]).abs()
        scaled = float((w * hessian.diagonal() * w).sum())
        assert abs(curvature.trace_scaled.value - scaled) <= 3 * curvature.trace_scaled.half_width + 1e-8
    assert np.isnan(found.accuracy).all()


def test_gauss_newton_of_a_small_subset_is_that_of_its_jacobian():
    """Of the squared error G = 2/m Σ JᵀJ over m outputs; of pixels' cross-entropy from each pixel's softmax."""
    for task in ("regression", "one number", "segmentation"):
        net, x, y, loss = tasks()[task]
        net = net.double()
        subject = Subject(net, (x, y), loss=loss, subsets={"few": torch.arange(N) < 3}, dtype=torch.float64)
        result = measure_hessian(subject, settings=HessianSettings(top=1, tol=1e-6))
        outputs, parameters = net(x[:3]), list(net.parameters())
        free = outputs.detach().requires_grad_()
        value = loss(free, y[:3]).mean()
        (slope,) = torch.autograd.grad(value, free, create_graph=True)
        inner = [torch.autograd.grad(s, free, retain_graph=True)[0].flatten() for s in slope.flatten()]
        jacobian = [torch.autograd.grad(z, parameters, retain_graph=True) for z in outputs.flatten()]
        j = torch.stack([torch.cat([p.flatten() for p in row]) for row in jacobian])
        values = torch.linalg.eigvalsh(j.T @ torch.stack(inner) @ j).flip(0)
        ours = result.of("few").gauss_newton
        assert ours.values[:3] == pytest.approx(values[:3].numpy(), rel=1e-7, abs=1e-12)
        assert ours.trace == pytest.approx(float(values.sum()), rel=1e-7)


def test_losses_and_gradients_of_overlapping_subsets_go_their_own_rows():
    net, x, y, loss = tasks()["regression"]
    subject = Subject(net, (x, y), loss=loss, subsets=masks(), dtype=torch.float64)
    evaluator = Evaluator(subject)
    losses = loss(net.double()(x), y).mean(1).detach()
    for subset in subject.subsets:
        mask = masks().get(subset.name, torch.ones(N, dtype=torch.bool))
        assert float(subject.weights(subset).sum()) == pytest.approx(1)
        ours = evaluator.losses_at(subject.vector(), subset)
        assert torch.allclose(ours.sort().values, losses[mask].sort().values, rtol=1e-12)
        parts = [subject.loss(subject.network(b.inputs), b.targets) @ b.weights for b in evaluator.batches(subset, 3)]
        assert float(sum(parts).detach()) == pytest.approx(float(losses[mask].mean()), rel=1e-12)
    sharp = measure_sharpness(subject, settings=SharpnessSettings(radii=(0.1,), draws=2, steps=1))
    assert np.isfinite(sharp.sam).all() and (sharp.sam > 0).all()


def test_classes_by_masks_are_the_classes():
    x, y = drawn(N, 4), torch.arange(N) % 3
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
    by_class = evaluate(Subject(net, (x, y), train_counts=[9, 5, 2], dtype=torch.float64))
    masked = evaluate(Subject(net, (x, y), subsets={str(c): y == c for c in range(3)}, dtype=torch.float64))
    for one, other in (("all", "all"), *((f"class:{c}", str(c)) for c in range(3))):
        a, b = by_class.subset.index(one), masked.subset.index(other)
        assert by_class.loss[a] == pytest.approx(masked.loss[b], rel=1e-12)
        assert by_class.accuracy[a] == pytest.approx(masked.accuracy[b])


def test_a_single_logit_has_no_accuracy_of_a_largest_one():
    subject = Subject(nn.Linear(4, 1), (drawn(N, 4), torch.arange(N) % 2), loss=lambda z, y: bce(z[:, 0], y.to(z)))
    assert np.isnan(evaluate(subject).accuracy).all()
    own = Subject(nn.Linear(4, 1), (drawn(N, 4), torch.arange(N) % 2), loss=lambda z, y: bce(z[:, 0], y.to(z)),
                  accuracy=lambda z, y: (z[:, 0] > 0) == (y == 1))  # fmt: skip
    assert 0 <= evaluate(own).accuracy[0] <= 1


@pytest.mark.parametrize(
    ("subsets", "sentence"),
    [
        ({"hard": torch.ones(3, dtype=torch.bool)}, r"'hard' has a mask \(3,\) of bool for 14 samples"),
        ({"hard": torch.ones(N)}, "of float32 for 14 samples"),
        ({"hard": [N]}, "indices of some"),
        (["balanced"], "unknown subset 'balanced': choose among all alone"),
    ],
)
def test_masks_that_fit_nothing_are_refused(subsets, sentence):
    with pytest.raises(InputError, match=sentence):
        Subject(nn.Linear(4, 2), (drawn(N, 4), drawn(N, 2)), loss=squared, subsets=subsets)


def test_an_empty_mask_is_left_out():
    subject = Subject(nn.Linear(4, 2), (drawn(N, 4), drawn(N, 2)), loss=squared, subsets={"none": [], "some": [1, 3]})
    assert subject.absent == ("none",) and [s.name for s in subject.subsets] == ["all", "some"]


def test_a_loss_that_pairs_every_output_with_every_target_is_refused():
    """(n, 1) outputs against (n,) targets broadcast to (n, n): no sample has a loss of its own."""
    subject = Subject(nn.Linear(4, 1), (drawn(N, 4), drawn(N)), loss=lambda z, y: (z - y).square(), dtype=torch.float64)
    with pytest.raises(Exception, match="another loss alone than beside others"):
        check_loss(subject)


def test_files_and_pages_of_masks(tmp_path):
    net, x, y, loss = tasks()["multi-label"]
    subject = Subject(net, (x, y), loss=loss, subsets=masks())
    file = tmp_path / "mine.h5"
    held = measure(
        subject, file, hessian=HessianSettings(top=2), sharpness=SharpnessSettings(draws=2, steps=1),
        surface=SurfaceSettings(points=(3, 3), span=0.5, tolerance=None),
    )  # fmt: skip
    assert held.get("hessian", "train").subset == ("all", "even", "third", "late", "one")
    write_report([file], tmp_path / "page.html")
    assert "third" in (tmp_path / "page.html").read_text()
