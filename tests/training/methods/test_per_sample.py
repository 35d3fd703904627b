"""The trained loss as per-sample losses: its plain mean over all training samples is the objective."""

import pytest
import torch

from foundation.errors import InputError
from tests.training.methods.losses import references as ref
from training.methods.method import build_method
from training.methods.objective import Outputs
from training.methods.per_sample import sample_losses

COUNTS = [30, 7, 2, 1]
SEPARABLE = [
    "ce", "bgp", "ldam-drw+bgp", "balanced-softmax+bgp", "cb-focal", "la", "vs-drw", "abc-norm", "ce-mae",
    "batch-balanced-ce", "unbalanced-penalty", "trace", "sam", "ldam-drw+bgp+focal-sam",
]  # fmt: skip


def full_set():
    torch.manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    return 3 * torch.randn(len(labels), 4, dtype=torch.float64), labels


@pytest.mark.parametrize("name", SEPARABLE)
def test_mean_over_the_training_set_is_the_objective(name):
    logits, labels = full_set()
    losses = sample_losses(build_method(name, COUNTS).record, COUNTS)
    expected = ref.objective(name, COUNTS, Outputs(logits, logits, logits), labels)
    assert losses(logits, labels).shape == labels.shape
    torch.testing.assert_close(losses(logits, labels).mean(), expected)


def test_the_share_of_a_sample_is_written_out():
    logits, labels = full_set()
    losses = sample_losses({"name": "bgp", "kwargs": {"bgp.weight": 3.0}, "note": ""}, COUNTS)
    i = 38  # in class 2
    d = ref.softmax(logits[i].numpy()) - ref.one_hot(2, 4)
    expected = ref.ce(logits[i].numpy(), 2) + 3.0 * 40 / (4 * 2) * (d**2).sum()
    assert labels[i] == 2
    assert losses(logits, labels)[i].item() == pytest.approx(expected)


def test_a_sample_has_the_same_loss_in_any_batch():
    logits, labels = full_set()
    losses = sample_losses(build_method("ldam-drw+bgp", COUNTS).record, COUNTS)
    torch.testing.assert_close(losses(logits[5:9], labels[5:9]), losses(logits, labels)[5:9])


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is:FutureWarning")  # torch's own forward mode uses it
@pytest.mark.parametrize("name", SEPARABLE)
def test_can_be_differentiated_twice_either_way(name):
    """Forward over reverse, as compiled products do it, equals double backward; both are finite for a perfect fit."""
    logits, labels = full_set()
    logits[0] = torch.tensor([1e4, 0, 0, 0])
    losses = sample_losses(build_method(name, COUNTS).record, COUNTS)
    v = torch.randn(logits.shape, dtype=torch.float64)

    def mean(z):
        return losses(z, labels).mean()

    _, forward = torch.func.jvp(torch.func.grad(mean), (logits,), (v,))
    leaf = logits.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(mean(leaf), leaf, create_graph=True)
    (backward,) = torch.autograd.grad(gradient, leaf, v)
    assert backward.isfinite().all()
    torch.testing.assert_close(forward, backward)


@pytest.mark.parametrize(
    ("name", "kwargs", "why"),
    [
        ("bgp", {"member": "class-mean"}, "whole batch"),
        ("bgp", {"member": "classifier"}, "whole batch"),
        ("bgp", {"member": "logit-norm", "norm": "mean"}, "whole batch"),
        ("bgp", {"member": "parameters"}, "all parameters"),
        ("bgp", {"member": "sample-classifier"}, "features"),
        ("bgp-as-weights", {}, "holds weights constant"),
        ("bgp-orthogonal", {}, "holds weights constant"),
        ("ib", {}, "features"),
        ("cc-sam", {}, "features|later stage"),
        ("mixup", {}, "mixed images"),
        ("balanced-sampling", {}, "sampler"),
        ("crt", {}, "later stage"),
    ],
)
def test_what_is_no_sum_over_samples_says_so(name, kwargs, why):
    with pytest.raises(InputError, match=rf"({why}).*--loss evaluation$"):
        sample_losses(build_method(name, COUNTS, **kwargs).record, COUNTS)


def test_trained_in_batches_the_penalty_counts_rare_classes_as_often_as_they_were_there():
    logits, labels = full_set()
    record = build_method("bgp", COUNTS, weight=3.0).record
    losses = sample_losses(record, COUNTS, batch_size=8)
    assert losses.record["batch_size"] == 8 and losses.record["draws"] == 2000
    penalties = losses(logits, labels) - sample_losses(build_method("ce", COUNTS).record, COUNTS)(logits, labels)
    drawn = torch.rand(20_000, 40, generator=torch.Generator().manual_seed(3)).argsort(1)[:, :8]  # batches
    errors = (logits.softmax(1) - torch.eye(4, dtype=torch.float64)[labels]).square().sum(1)
    members = torch.eye(4, dtype=torch.float64)[labels[drawn]]  # (batches, 8, classes)
    there = members.sum(1)
    class_means = (errors[drawn][:, :, None] * members).sum(1) / there.clamp(min=1)
    expected = 3.0 * (class_means.sum(1) / (there > 0).sum(1)).mean()
    assert penalties.mean().item() == pytest.approx(float(expected), rel=0.03)
    whole = sample_losses(record, COUNTS, batch_size=40)
    torch.testing.assert_close(whole(logits, labels), sample_losses(record, COUNTS)(logits, labels))


@pytest.mark.parametrize("name", ["ce", "bgp-running"])
def test_what_is_balanced_exactly_needs_no_simulation(name):
    kwargs = {"balance": "running"} if name == "bgp-running" else {}
    record = build_method(name.removesuffix("-running"), COUNTS, **kwargs).record
    assert sample_losses(record, COUNTS, batch_size=8).record == {}


def test_an_unknown_record_says_so():
    with pytest.raises(InputError, match="unknown method 'magic'"):
        sample_losses({"name": "magic", "kwargs": {}}, COUNTS)
