"""Each loss against the formula of its paper, with classes of one sample and classes absent from the batch."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.methods.losses import references as ref
from training.methods.losses.logit_adjustment import prior_shift
from training.methods.method import build_method
from training.methods.objective import Outputs, TrainingProgress

COUNTS = [500, 60, 9, 1, 1]
LABELS = [0, 0, 0, 1, 1, 0, 3, 3]  # classes 2 and 4 are absent


def batch(labels=LABELS, classes=5, features=7, scale=3.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(len(labels), classes, generator=generator, dtype=torch.float64)
    hidden = torch.randn(len(labels), features, generator=generator, dtype=torch.float64)
    weight = torch.randn(classes, features, generator=generator, dtype=torch.float64)
    return Outputs(logits, hidden, weight), torch.tensor(labels)


SAMPLEWISE = {
    "ce": ({}, lambda z, y, h: ref.ce(z, y)),
    "focal": ({"gamma": 2.0}, lambda z, y, h: ref.focal(z, y, COUNTS, 2.0)),
    "ldam": ({"max_margin": 0.3}, lambda z, y, h: ref.ldam(z, y, COUNTS, 0.3, 30.0)),
    "balanced-softmax": ({}, lambda z, y, h: ref.ce(z + np.log(COUNTS), y)),
    "la": ({"tau": 0.7}, lambda z, y, h: ref.la(z, y, COUNTS, 0.7)),
    "vs": ({}, lambda z, y, h: ref.vs(z, y, COUNTS, 0.2, 1.2)),
    "abc-norm": ({}, lambda z, y, h: ref.abc_norm(z, y, COUNTS, 0.5, 0.5)),
    "ib": ({"alpha": 1000.0}, lambda z, y, h: ref.ib(z, y, h, COUNTS, 1000.0)),
}


@pytest.mark.parametrize("name", SAMPLEWISE)
def test_mean_over_samples(name):
    kwargs, reference = SAMPLEWISE[name]
    outputs, labels = batch()
    expected = np.mean(ref.each(outputs, labels, reference))
    assert ref.objective(name, COUNTS, outputs, labels, **kwargs).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("name", ["ce", "focal", "ldam", "balanced-softmax", "la", "vs", "abc-norm"])
@pytest.mark.parametrize("weighting", ["cb", "drw"])
def test_weighted_mean_over_samples(name, weighting):
    kwargs, reference = SAMPLEWISE[name]
    outputs, labels = batch()
    values = ref.each(outputs, labels, reference)
    expected = ref.weighted_mean(values, LABELS, ref.effective_weights(COUNTS, 0.9999))
    assert ref.objective(f"{name}+{weighting}", COUNTS, outputs, labels, **kwargs).item() == pytest.approx(expected)


def test_weights_agree_with_torch_cross_entropy():
    outputs, labels = batch()
    weights = torch.tensor(ref.effective_weights(COUNTS, 0.9999))
    assert weights.sum() == pytest.approx(5)
    expected = torch.nn.functional.cross_entropy(outputs.logits, labels, weight=weights)
    torch.testing.assert_close(ref.objective("cb-ce", COUNTS, outputs, labels), expected)


def test_weights_are_deferred_to_epoch_160_of_200():
    outputs, labels = batch()
    plain = ref.objective("ldam", COUNTS, outputs, labels)
    late = ref.objective("ldam+cb", COUNTS, outputs, labels)
    for epoch, expected in ((159, plain), (160, late)):
        moment = {"progress": TrainingProgress(epoch / 200, epoch, 200)}
        assert ref.objective("ldam-drw", COUNTS, outputs, labels, moment) == expected


def test_influence_balance_begins_at_epoch_100_of_200():
    outputs, labels = batch()
    early, late = ({"progress": TrainingProgress(e / 200, e, 200)} for e in (99, 100))
    assert ref.objective("ib", COUNTS, outputs, labels, early) == ref.objective("ce", COUNTS, outputs, labels)
    assert ref.objective("ib", COUNTS, outputs, labels, late) != ref.objective("ce", COUNTS, outputs, labels)


def test_focal_is_not_derived_from_the_weighted_loss():
    outputs, labels = batch(scale=1.0)
    weights = ref.effective_weights(COUNTS, 0.9999)
    plain = ref.each(outputs, labels, lambda z, y, h: ref.ce(z, y))
    right = [(1 - np.exp(-value)) * value for value in plain]
    wrong = [(1 - np.exp(-weights[y] * value)) * value for value, y in zip(plain, LABELS, strict=True)]
    got = ref.objective("cb-focal", COUNTS, outputs, labels).item()
    assert got == pytest.approx(ref.weighted_mean(right, LABELS, weights))
    assert abs(got - ref.weighted_mean(wrong, LABELS, weights)) > 1e-2


def test_logit_adjustment_at_tau_1_is_balanced_softmax():
    outputs, labels = batch()
    torch.testing.assert_close(
        ref.objective("la", COUNTS, outputs, labels), ref.objective("balanced-softmax", COUNTS, outputs, labels)
    )


def test_post_hoc_shift_undoes_the_trained_one():
    outputs, labels = batch()
    trained = ref.objective("la", COUNTS, outputs, labels, tau=1.5)
    shifted = Outputs(outputs.logits + prior_shift(COUNTS, 1.5), outputs.features, outputs.weight)
    torch.testing.assert_close(trained, ref.objective("ce", COUNTS, shifted, labels))


def test_ldam_takes_its_margin_from_a_cosine_head_alone():
    method = build_method("ldam", COUNTS, scale=20.0)
    assert (method.head, method.scale) == ("cosine", 20.0)
    cosines = torch.tensor([[0.4, 0.1, 0.1, 0.2, -0.3]], dtype=torch.float64)
    outputs = Outputs(20 * cosines, torch.ones(1, 2), torch.ones(5, 2))
    rarest = method.objective(outputs, torch.tensor([3]), **ref.LATE)
    lowered = cosines - torch.tensor([0, 0, 0, 0.5, 0])
    torch.testing.assert_close(rarest, torch.nn.functional.cross_entropy(20 * lowered, torch.tensor([3])))


PENALTIES = {
    "batch-balanced-ce": (ref.class_mean, lambda z, y, h: ref.ce(z, y)),
    "mae": (lambda values, labels: np.mean(values), lambda z, y, h: 2 * (1 - ref.softmax(z)[y])),
    "unbalanced-penalty": (
        lambda values, labels: np.mean(values),
        lambda z, y, h: ((ref.softmax(z) - ref.one_hot(y, len(z))) ** 2).sum(),
    ),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_penalties_beside_the_loss(name):
    mean, penalty = PENALTIES[name]
    outputs, labels = batch()
    loss = np.mean(ref.each(outputs, labels, lambda z, y, h: ref.ce(z, y)))
    expected = loss + 0.7 * mean(ref.each(outputs, labels, penalty), LABELS)
    assert ref.objective(name, COUNTS, outputs, labels, weight=0.7).item() == pytest.approx(expected, rel=1e-12)


ALL = [
    "ce", "focal-drw", "ldam-drw+bgp", "balanced-softmax+bgp", "la", "vs", "ib", "abc-norm", "cb-ce+mae",
    "batch-balanced-ce+unbalanced-penalty", "cc-sam", "cc-sam-classifier",
]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_bfloat16_logits_are_computed_in_float32(name):
    outputs, labels = batch()
    half = Outputs(outputs.logits.bfloat16(), outputs.features.bfloat16(), outputs.weight.float())
    with torch.autocast("cpu", torch.bfloat16):
        got = ref.objective(name, COUNTS, half, labels)
    wide = Outputs(half.logits.double(), half.features.double(), half.weight.double())
    expected = ref.objective(name, COUNTS, wide, labels)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ALL)
def test_saturated_predictions_have_finite_gradients(name):
    for value in (200.0, -200.0):  # p_y is exactly 1, or exactly 0, in float32
        logits = torch.zeros(3, 5)
        logits[:, 3] = value
        logits.requires_grad_()
        features = torch.ones(3, 4, requires_grad=True)
        weight = torch.ones(5, 4, requires_grad=True)
        loss = ref.objective(name, COUNTS, Outputs(logits, features, weight), torch.tensor([3, 3, 3]))
        loss.backward()
        assert loss.isfinite()
        assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_focal_has_finite_gradients_where_nothing_is_missing(gamma):
    logits = torch.tensor([[100.0, 0.0]], requires_grad=True)
    ref.objective("focal", [2, 1], Outputs(logits, logits, logits), torch.tensor([0]), gamma=gamma).backward()
    assert logits.grad.isfinite().all()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0, 1), st.sampled_from(["ce", "bgp", "ldam-drw+bgp", "vs+cb", "cc-sam"]))
def test_mixing_mixes_losses_and_penalties(seed, share, name):
    outputs, labels = batch(seed=seed)
    other = labels.flip(0)
    mixed = ref.objective(name, COUNTS, outputs, labels, mix=(other, share))
    one, two = (ref.objective(name, COUNTS, outputs, y) for y in (labels, other))
    torch.testing.assert_close(mixed, share * one + (1 - share) * two)
    torch.testing.assert_close(mixed, ref.objective(name, COUNTS, outputs, labels, mix=(other, torch.tensor(share))))


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["ce", "bgp", "ldam-drw+bgp", "ib", "batch-balanced-ce"]))
def test_the_order_of_samples_does_not_matter(seed, name):
    outputs, labels = batch(seed=seed)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    shuffled = Outputs(outputs.logits[order], outputs.features[order], outputs.weight)
    torch.testing.assert_close(
        ref.objective(name, COUNTS, outputs, labels), ref.objective(name, COUNTS, shuffled, labels[order])
    )


@pytest.mark.parametrize("name", ["ce", "ldam-drw+bgp", "batch-balanced-ce", "focal+cb"])
def test_class_factors_split_the_objective(name):
    outputs, labels = batch()
    method = build_method(name, COUNTS)
    tail = torch.tensor([0.0, 0, 1, 1, 1])
    parts = [method.class_weighted(part).objective(outputs, labels, **ref.LATE) for part in (tail, 1 - tail)]
    torch.testing.assert_close(sum(parts), method.objective(outputs, labels, **ref.LATE))
    assert min(parts) > 0
