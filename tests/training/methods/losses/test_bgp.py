"""BGP's members against their definitions, class by class, and against gradients of a real network."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.training.methods.losses import references as ref
from tests.training.methods.losses.test_losses import COUNTS, LABELS, batch
from training.methods.method import build_method
from training.methods.objective import Outputs, TrainingProgress


def penalty(member, norm="auto", weight=1.0, base="ce", outputs=None, labels=None, moment=ref.MOMENT, **kwargs):
    """The objective with the penalty less the one without."""
    if outputs is None:
        outputs, labels = batch()
    with_it = ref.objective(
        f"{base}+bgp", COUNTS, outputs, labels, moment, member=member, norm=norm, weight=weight, **kwargs
    )
    return with_it - ref.objective(base, COUNTS, outputs, labels, moment)


def by_class(outputs, labels, value):
    """Mean over the classes present of `value(errors, features)` of the class's samples."""
    p = np.array([ref.softmax(z) for z in outputs.logits.detach().numpy()])
    d = p - np.eye(p.shape[1])[labels]
    h = outputs.features.detach().numpy()
    rows = [[i for i, y in enumerate(labels) if y == c] for c in sorted(set(labels))]
    return np.mean([value(d[i], h[i]) for i in rows])


DEFINITIONS = {
    ("logit", "l2"): lambda d, h: (d**2).sum(1).mean(),
    ("logit", "l1"): lambda d, h: np.abs(d).sum(1).mean(),
    ("class-mean", "l2"): lambda d, h: (d.mean(0) ** 2).sum(),
    ("classifier", "squared"): lambda d, h: ((d.T @ h / len(d)) ** 2).sum(),
    ("classifier", "plain"): lambda d, h: np.sqrt(((d.T @ h / len(d)) ** 2).sum()),
}


@pytest.mark.parametrize(("member", "norm"), DEFINITIONS)
@pytest.mark.parametrize("base", ["ce", "balanced-softmax", "ldam-drw", "vs"])
def test_definition_on_any_loss_from_inference_logits(member, norm, base):
    outputs, _ = batch()
    expected = 0.6 * by_class(outputs, LABELS, DEFINITIONS[member, norm])
    assert penalty(member, norm, 0.6, base).item() == pytest.approx(expected, rel=1e-10)


def test_logit_norms_need_no_labels():
    outputs, _ = batch()
    z = outputs.logits.numpy()
    assert penalty("logit-norm", "samples").item() == pytest.approx((z**2).sum(1).mean())
    assert penalty("logit-norm", "mean").item() == pytest.approx((z.mean(0) ** 2).sum())


def test_l1_is_twice_the_missing_probability():
    outputs, labels = batch()
    missing = 1 - outputs.logits.softmax(1).gather(1, labels[:, None]).squeeze(1)
    expected = ref.class_mean((2 * missing).tolist(), LABELS)
    assert penalty("logit", "l1").item() == pytest.approx(expected)


def test_default_is_the_logit_member_with_weight_2():
    outputs, labels = batch()
    default = ref.objective("bgp", COUNTS, outputs, labels) - ref.objective("ce", COUNTS, outputs, labels)
    torch.testing.assert_close(default, penalty("logit", "l2", 2.0))
    assert build_method("bgp", COUNTS).record["note"].endswith("reconstruction; class-balanced Brier score")


def network_outputs():
    torch.manual_seed(1)
    network = torch.nn.Sequential(torch.nn.Linear(6, 9), torch.nn.Tanh(), torch.nn.Linear(9, 5)).double()
    inputs, labels = torch.randn(8, 6, dtype=torch.float64), torch.tensor(LABELS)
    return network, ref.outputs_of(network, inputs), labels


@pytest.mark.parametrize("norm", ["squared", "plain"])
def test_classifier_member_is_the_last_layers_class_gradient(norm):
    network, outputs, labels = network_outputs()
    sizes = []
    for c in labels.unique():
        mine = labels == c
        loss = functional.cross_entropy(outputs.logits[mine], labels[mine])
        (gradient,) = torch.autograd.grad(loss, network[-1].weight, retain_graph=True)
        sizes.append(gradient.square().sum() if norm == "squared" else gradient.norm())
    torch.testing.assert_close(penalty("classifier", norm, outputs=outputs, labels=labels), torch.stack(sizes).mean())


def test_logit_member_is_the_gradient_in_the_logits():
    _, outputs, labels = network_outputs()
    loss = functional.cross_entropy(outputs.logits, labels, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, outputs.logits, retain_graph=True)
    expected = ref.class_mean(gradient.square().sum(1).tolist(), LABELS)
    assert penalty("logit", outputs=outputs, labels=labels).item() == pytest.approx(expected)


@pytest.mark.parametrize(("member", "norm"), [*DEFINITIONS, ("logit-norm", "samples"), ("logit-norm", "mean")])
def test_gradient_is_that_of_the_definition(member, norm):
    """Central differences of the objective, in float64."""
    outputs, labels = batch(labels=[0, 0, 1, 3])
    leaves = [outputs.logits.clone().requires_grad_(), outputs.features.clone().requires_grad_()]

    def value(logits, features):
        return penalty(member, norm, outputs=Outputs(logits, features, outputs.weight), labels=labels)

    assert torch.autograd.gradcheck(value, leaves, eps=1e-6, atol=1e-7)


@pytest.mark.parametrize(("member", "norm"), DEFINITIONS)
def test_a_perfectly_fitted_class_costs_nothing_and_has_finite_gradients(member, norm):
    logits = torch.zeros(2, 5, dtype=torch.float32)
    logits[:, 3] = 1e4
    logits.requires_grad_()
    value = penalty(
        member, norm, outputs=Outputs(logits, torch.ones(2, 3), torch.ones(5, 3)), labels=torch.tensor([3, 3])
    )
    value.backward()
    assert value.item() == 0
    assert logits.grad.isfinite().all()


def test_each_class_weighs_alike_however_many_samples_it_has():
    """Doubling the head class's samples leaves the penalty alone and moves the unbalanced one."""
    outputs, labels = batch()
    doubled = [i for i, y in enumerate(LABELS) for _ in range(2 if y == 0 else 1)]
    more = Outputs(outputs.logits[doubled], outputs.features[doubled], outputs.weight)
    for member, norm in DEFINITIONS:
        torch.testing.assert_close(
            penalty(member, norm), penalty(member, norm, outputs=more, labels=labels[doubled]), msg=member
        )
    unbalanced = [
        ref.objective("unbalanced-penalty", COUNTS, o, y) for o, y in ((outputs, labels), (more, labels[doubled]))
    ]
    assert unbalanced[0] != pytest.approx(unbalanced[1].item(), rel=1e-3)


@pytest.mark.parametrize(("schedule", "factor"), [("constant", 1.0), ("rising", 0.25), ("falling", 0.75)])
def test_schedules_follow_progress(schedule, factor):
    moment = {"progress": TrainingProgress(0.25, 2, 10)}
    torch.testing.assert_close(penalty("logit", moment=moment, schedule=schedule), factor * penalty("logit"))
