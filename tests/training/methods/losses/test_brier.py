"""BGP's default penalty taken apart: a re-weighting of cross-entropy, and the rest of its gradient."""

import pytest
import torch
from torch.nn import functional

from tests.training.methods.losses import references as ref
from tests.training.methods.losses.test_losses import COUNTS, LABELS, batch
from training.methods.losses.brier import split_gradient
from training.methods.method import build_method
from training.methods.objective import Outputs


def penalty_gradient(name, **kwargs):
    """The gradient in the logits of what the penalty adds to cross-entropy."""
    outputs, labels = batch()
    logits = outputs.logits.clone().requires_grad_()
    outputs = Outputs(logits, outputs.features, outputs.weight)
    added = ref.objective(name, COUNTS, outputs, labels, **kwargs) - ref.objective("ce", COUNTS, outputs, labels)
    (gradient,) = torch.autograd.grad(added, logits)
    return gradient


@pytest.mark.parametrize("balance", ["batch", "running"])
def test_the_two_parts_add_up_to_the_penalty(balance):
    settings = {"weight": 1.7, "balance": balance}
    parts = [penalty_gradient(name, **settings) for name in ("bgp-as-weights", "bgp-orthogonal")]
    torch.testing.assert_close(sum(parts), penalty_gradient("bgp", **settings), rtol=0, atol=1e-10)
    assert all(part.norm() > 1e-3 for part in parts)


def test_the_share_along_cross_entropy_is_the_closed_form():
    """By projecting autograd's gradient of ‖p - e_y‖² on autograd's gradient of cross-entropy."""
    outputs, labels = batch()
    logits = outputs.logits.clone().requires_grad_()
    brier = (logits.softmax(1) - functional.one_hot(labels, logits.shape[1])).square().sum()
    (g,) = torch.autograd.grad(brier, logits)
    (d,) = torch.autograd.grad(functional.cross_entropy(logits, labels, reduction="sum"), logits)
    alpha, orthogonal, share = split_gradient(logits.detach(), labels)
    torch.testing.assert_close(alpha, (g * d).sum(1) / d.square().sum(1))
    torch.testing.assert_close(share, ((g * d).sum(1) / (g.norm(dim=1) * d.norm(dim=1))) ** 2)
    torch.testing.assert_close((orthogonal * d).sum(1), torch.zeros(len(labels), dtype=d.dtype))
    assert ((alpha >= 0) & (alpha <= 1)).all() and ((share >= 0) & (share <= 1 + 1e-12)).all()


def test_along_cross_entropy_bgp_is_a_weight_of_each_sample():
    """1/N + λ/(C n_y) · 2 dᵀHd / dᵀd, C and n_y those of the batch, by projecting the whole objective's gradient."""
    outputs, labels = batch()
    logits = outputs.logits.clone().requires_grad_()
    value = ref.objective("bgp", COUNTS, Outputs(logits, outputs.features, outputs.weight), labels, weight=1.7)
    (gradient,) = torch.autograd.grad(value, logits)
    p, hot = logits.detach().softmax(1), functional.one_hot(labels, logits.shape[1])
    d, counts = p - hot, hot.sum(0)
    for i, label in enumerate(labels):
        hessian = p[i].diag() - torch.outer(p[i], p[i])
        alpha = 2 * d[i] @ hessian @ d[i] / d[i].square().sum()
        weight = 1 / len(labels) + 1.7 / int((counts > 0).sum() * counts[label]) * alpha
        assert float(gradient[i] @ d[i] / d[i].square().sum()) == pytest.approx(float(weight), rel=1e-10)


def test_with_two_classes_everything_lies_along_cross_entropy():
    """Two logits have one direction: the penalty *is* a re-weighting, by α = 4 p (1 - p)."""
    logits, labels = torch.randn(6, 2, dtype=torch.float64), torch.tensor([0, 1, 1, 0, 1, 0])
    alpha, orthogonal, share = split_gradient(logits, labels)
    p = logits.softmax(1)
    torch.testing.assert_close(share, torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(alpha, 4 * p[:, 0] * p[:, 1])
    assert orthogonal.abs().max() < 1e-15


def test_a_perfect_fit_splits_into_zeros():
    logits = torch.tensor([[1e4, 0.0, 0.0]])
    for part in split_gradient(logits, torch.tensor([0])):
        assert part.isfinite().all() and part.abs().sum() == 0


def test_trace_is_flat_without_fit():
    """It is low for any confident prediction, right or wrong."""
    outputs, labels = batch()
    confident = Outputs(1e3 * functional.one_hot(labels.flip(0), 5).double(), outputs.features, outputs.weight)
    added = ref.objective("trace", COUNTS, confident, labels) - ref.objective("ce", COUNTS, confident, labels)
    assert added.item() == pytest.approx(0, abs=1e-12)
    p = outputs.logits.softmax(1)
    expected = 2 * ref.class_mean((p * (1 - p)).sum(1).tolist(), LABELS)
    added = ref.objective("trace", COUNTS, outputs, labels) - ref.objective("ce", COUNTS, outputs, labels)
    assert added.item() == pytest.approx(expected)


@pytest.mark.parametrize("norm", ["detached", "joint"])
def test_sample_classifier_is_the_size_of_each_samples_last_layer_gradient(norm):
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Tanh(), torch.nn.Linear(9, 5)).double()
    inputs, labels = torch.randn(8, 6, dtype=torch.float64), torch.tensor(LABELS)
    outputs = ref.outputs_of(network, inputs)
    sizes = []
    for i in range(8):
        loss = functional.cross_entropy(network(inputs[i : i + 1]), labels[i : i + 1])
        sizes.append(float(torch.autograd.grad(loss, network[-1].weight)[0].norm()))
    kwargs = {"member": "sample-classifier", "norm": norm, "weight": 0.7}
    added = ref.objective("bgp", COUNTS, outputs, labels, **kwargs) - ref.objective("ce", COUNTS, outputs, labels)
    assert added.item() == pytest.approx(0.7 * ref.class_mean(sizes, LABELS), rel=1e-9)
    assert build_method("bgp", COUNTS, **kwargs).record["note"].startswith("bgp: reconstruction; ")


@pytest.mark.parametrize(("norm", "shrinks"), [("detached", False), ("joint", True)])
def test_features_shrink_only_where_their_size_is_penalized(norm, shrinks):
    outputs, labels = batch()
    features = outputs.features.clone().requires_grad_()
    value = ref.objective("bgp", COUNTS, Outputs(outputs.logits, features, outputs.weight), labels,
                          member="sample-classifier", norm=norm)  # fmt: skip
    gradient = torch.autograd.grad(value, features, allow_unused=True)[0] if value.requires_grad else None
    assert (gradient is not None and bool((gradient * features).sum() > 0)) == shrinks
