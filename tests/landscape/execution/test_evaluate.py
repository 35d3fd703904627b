from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from foundation.errors import InputError
from landscape.execution.bn_folding import FoldedNetwork
from landscape.execution.evaluate import Evaluation, Evaluator, evaluate
from landscape.execution.layout import channels_last
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject

COUNTS = [40, 13, 3, 1]


def agree(folded: FoldedNetwork, network: nn.Module, inputs: torch.Tensor) -> bool:
    with torch.no_grad():
        return torch.allclose(folded(inputs), network(inputs), rtol=1e-4, atol=1e-4)


class Residual(nn.Module):
    """Folds three of its four normalizations: one follows a sum, and the first convolution is read twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.stem_norm = nn.Conv2d(1, 6, 3, padding=1, bias=True), nn.BatchNorm2d(6)
        self.body, self.body_norm = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6, affine=False)
        self.sum_norm = nn.BatchNorm2d(6)
        self.wide, self.wide_norm = nn.Conv2d(6, 8, 3, stride=2, groups=2), nn.BatchNorm2d(8)
        self.pool, self.head = nn.MaxPool2d(2), nn.Linear(8 * 3 * 3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.stem_norm(self.stem(x)))
        x = torch.relu(self.sum_norm(x + self.body_norm(self.body(x))))
        x = self.pool(self.wide_norm(self.wide(x)).relu())
        return self.head(x.flatten(1))


class Shortcuts(nn.Module):
    """Sums of every kind: with the network's input, with a value that a view of is read later, of two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        for k in range(6):
            self.add_module(f"conv{k}", nn.Conv2d(1 if k == 0 else 4, 1 if k == 0 else 4, 3, padding=1, bias=k > 2))
            self.add_module(f"norm{k}", nn.BatchNorm2d(1 if k == 0 else 4))
        self.widen, self.head, self.relu = nn.Conv2d(1, 4, 1), nn.Linear(4, 4), nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = functional.relu(self.norm0(self.conv0(x)) + x)
        x = self.widen(x)
        out = self.norm1(self.conv1(x))
        out += x
        x = self.relu(out)
        view = x[:, :, ::2]
        x = torch.relu(x + self.norm2(self.conv2(x)))
        x = x[:, :, ::2] + view
        y = functional.relu(self.norm3(self.conv3(x)))
        y = functional.relu(torch.add(self.norm4(self.conv4(y)), self.norm5(self.conv5(y))))
        return self.head(y.mean((2, 3)))


class Gated(nn.Module):
    """A sum that is larger than the convolution's result in it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 3, 16), nn.BatchNorm2d(3), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head((self.norm(self.conv(x)) + x).mean((2, 3)))


class Branching(nn.Module):
    """Cannot be traced: its path depends on the data."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.norm(self.conv(x))
        if x.mean() > 1e9:
            x = -x
        return self.head(x.mean((2, 3)))


class Twice(nn.Module):
    """One convolution used twice, and one whose output is read before its normalization: neither may be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.first, self.first_norm, self.head = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raw = self.first(x)
        x = self.norm(self.inner(self.first_norm(raw))) + raw
        return self.head(self.norm(self.inner(x)).mean((2, 3)))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(256, 16), nn.BatchNorm1d(16), nn.GELU(), nn.Linear(16, 4))


def trained(build: Callable[[], nn.Module]) -> nn.Module:
    """A network whose normalization layers have seen something."""
    torch.manual_seed(0)
    network = build()
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_(0, 0.3)
            module.running_var.uniform_(0.2, 3.0)
            if module.weight is not None:
                nn.init.normal_(module.weight, 1.0, 0.3)
                nn.init.normal_(module.bias, 0.0, 0.3)
    return network.eval()


def subject_of(network: nn.Module, **options: object) -> Subject:
    labels = torch.repeat_interleave(torch.arange(4), torch.tensor(COUNTS))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(2))
    inputs = torch.randn(len(labels), 1, 16, 16, generator=torch.Generator().manual_seed(3))
    return Subject(network, TensorSamples(inputs, labels[order]), train_counts=COUNTS, **options)


def plainly(subject: Subject) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss and accuracy of every subset, one at a time, by `model(x)` in one batch in float64."""
    rows = []
    for subset in subject.subsets:
        inside = torch.isin(subject.labels, torch.tensor(subset.classes))
        labels = subject.labels[inside]
        with torch.no_grad():
            logits = subject.network(subject.inputs(slice(0, None))[inside])
        losses, right = functional.cross_entropy(logits, labels, reduction="none"), logits.argmax(1) == labels
        parts = [labels == c for c in subset.classes] if subset.kind == "balanced" else [labels >= 0]
        rows.append([sum(v[part].double().mean() for part in parts) / len(parts) for v in (losses, right)])
    return tuple(torch.tensor(rows, dtype=torch.float64).T)


def same(found: Evaluation, plain: tuple[torch.Tensor, torch.Tensor], rtol: float = 2e-6) -> None:
    np.testing.assert_allclose(found.loss, plain[0], rtol=rtol, atol=1e-14)
    np.testing.assert_allclose(found.accuracy, plain[1], rtol=rtol, atol=1e-14)
    assert not found.loss_se.any()


@pytest.mark.parametrize("build", [Residual, Shortcuts, Branching, Twice, mlp])
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_every_subset_agrees_with_a_plain_forward_pass(build: Callable[[], nn.Module], chunk: int) -> None:
    subject = subject_of(trained(build))
    evaluator = Evaluator(subject)
    evaluator.chunk = chunk
    same(evaluator.here(), plainly(subject))


def test_float64_agrees_to_float64() -> None:
    subject = subject_of(trained(Residual), dtype=torch.float64)
    same(Evaluator(subject).here(), plainly(subject), rtol=1e-13)


@pytest.mark.parametrize(("build", "folded"), [(Residual, 3), (Shortcuts, 6), (Branching, 0), (Twice, 0), (mlp, 0)])
def test_only_what_can_be_folded_is_folded(build: Callable[[], nn.Module], folded: int) -> None:
    assert FoldedNetwork(trained(build)).folded == folded


def test_what_works_in_place_overwrites_nothing_that_is_read_again() -> None:
    network, inputs = trained(Shortcuts), torch.randn(5, 1, 16, 16)
    before, folded = inputs.clone(), FoldedNetwork(network)
    for _ in range(2):
        assert agree(folded, network, inputs)
        assert torch.equal(inputs, before)


def test_a_sum_that_broadcasts_is_noticed_and_the_plain_network_used() -> None:
    subject = subject_of(trained(Gated))
    same(Evaluator(subject).here(), plainly(subject))


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_broken_weight_in_any_layer_makes_a_hole_of_the_loss(broken: float) -> None:
    """Fused rectifiers of some libraries turn NaN into 0: a network that has diverged would look trained."""
    subject = subject_of(trained(Shortcuts))
    evaluator = Evaluator(subject)
    for name in (f"conv{k}.weight" for k in range(6)):
        point = subject.vector()
        subject.split(point)[name][0, 0, 1, 1] = broken
        with subject.placed(point):
            assert np.array_equal(np.isnan(evaluator.here().loss), np.isnan(plainly(subject)[0].numpy())), name
        if broken != broken:
            assert np.isnan(evaluator.at(point).loss).all(), name


@pytest.mark.parametrize(("build", "form"), [(Residual, "folded"), (Branching, "plain"), (mlp, "plain")])
def test_how_a_network_is_evaluated_is_said(build: Callable[[], nn.Module], form: str) -> None:
    assert Evaluator(subject_of(trained(build))).form == form


def test_bfloat16_keeps_three_digits_and_the_losses_dtype() -> None:
    subject = subject_of(trained(Residual))
    rough, fine = Evaluator(subject, bf16=True).here(), Evaluator(subject).here()
    assert not np.array_equal(rough.loss, fine.loss)
    np.testing.assert_allclose(rough.loss, fine.loss, rtol=0.03)


def test_a_folded_network_follows_its_weights_and_statistics() -> None:
    network = trained(Residual)
    folded, inputs = FoldedNetwork(network), torch.randn(5, 1, 16, 16)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.mul_(1.3)
        network.body_norm.running_var.mul_(2.0)
        assert not agree(folded, network, inputs)
        folded.refold()
        assert agree(folded, network, inputs)
        torch.testing.assert_close(folded(inputs), network(inputs), rtol=1e-5, atol=1e-6)


def test_a_hook_on_a_folded_layer_is_noticed_and_the_plain_network_used() -> None:
    network = trained(Residual)
    network.stem_norm.register_forward_hook(lambda module, arguments, output: output * 1.5)
    subject = subject_of(network)
    same(Evaluator(subject).here(), plainly(subject))


def test_other_weights_are_evaluated_there_and_left_again() -> None:
    subject = subject_of(trained(Residual))
    evaluator, origin = Evaluator(subject), subject.vector()
    moved = origin + 0.1 * torch.randn(subject.size, generator=torch.Generator().manual_seed(5))
    here, there = evaluator.here(), evaluator.at(moved)
    assert torch.equal(subject.vector(), origin)
    again = evaluator.here()
    assert np.array_equal(again.loss, here.loss) and np.array_equal(again.accuracy, here.accuracy)
    with subject.placed(moved):
        same(there, plainly(subject))
    for subset, loss in zip(subject.subsets, there.loss, strict=True):
        mean, error = evaluator.mean_and_error(evaluator.losses_at(moved, subset), subset)
        assert mean == pytest.approx(float(loss), rel=1e-6) and error == 0


def test_weights_and_buffers_are_restored_after_an_exception() -> None:
    subject = subject_of(trained(Residual))
    evaluator = Evaluator(subject, calibration=TensorSamples(torch.randn(9, 1, 16, 16), torch.zeros(9).long()))
    before = {name: tensor.clone() for name, tensor in subject.network.state_dict().items()}

    def failing(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no")

    subject.loss = failing
    with pytest.raises(RuntimeError, match="no"):
        evaluator.at(subject.vector() * 2)
    for name, tensor in subject.network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_calibration_measures_the_statistics_at_the_point_itself() -> None:
    subject = subject_of(trained(Residual))
    data = TensorSamples(torch.randn(20, 1, 16, 16), torch.zeros(20).long())
    moved = subject.vector() * 1.1
    measured = Evaluator(subject, calibration=data).at(moved)
    with subject.placed(moved):
        subject.recalibrate(data)
        same(measured, plainly(subject))


def test_running_out_of_memory_halves_the_chunk() -> None:
    subject = subject_of(trained(mlp))
    evaluator, plain, loss = Evaluator(subject), plainly(subject), subject.loss

    def greedy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        if len(labels) > 10:
            raise torch.OutOfMemoryError("too large")
        return loss(logits, labels)

    subject.loss = greedy
    same(evaluator.here(), plain)
    assert evaluator.chunk <= 10


def test_non_finite_losses_are_kept() -> None:
    subject = subject_of(trained(mlp))
    found = Evaluator(subject).at(torch.full((subject.size,), float("nan")))
    assert np.isnan(found.loss).all()


def test_only_rows_that_a_subset_needs_are_evaluated() -> None:
    subject = subject_of(trained(mlp), subsets=["class:2", "class:3"])
    evaluator = Evaluator(subject)
    same(evaluator.here(), plainly(subject))
    assert evaluator.samples == 4
    assert evaluate(subject).subset == ("class:2", "class:3")


def test_one_channel_images_go_through_with_channels_innermost() -> None:
    images = torch.randn(4, 1, 6, 5)
    packed = channels_last(images)
    assert torch.equal(packed, images)
    answer = nn.Conv2d(1, 3, 3)(packed)
    assert answer.is_contiguous(memory_format=torch.channels_last)


def test_some_samples_of_each_class_stand_for_it() -> None:
    """Over many draws the mean is that of all samples, and its scatter is what the standard errors say."""
    subject = subject_of(trained(mlp))
    loss, _ = plainly(subject)
    found = [Evaluator(subject, samples_per_class=5, seed=seed) for seed in range(150)]
    assert {evaluator.samples for evaluator in found} == {5 + 5 + 3 + 1}
    results = [evaluator.here() for evaluator in found]
    losses, errors = np.stack([r.loss for r in results]), np.stack([r.loss_se for r in results])
    scatter = losses.std(0, ddof=1)
    whole = np.isin(subject_names(subject), ["medium", "few", "class:2", "class:3"])
    assert not errors[:, whole].any()
    np.testing.assert_allclose(losses[:, whole], np.broadcast_to(loss[whole], (150, whole.sum())), rtol=1e-6)
    assert (np.abs(losses.mean(0) - loss.numpy())[~whole] < 4 * scatter[~whole] / np.sqrt(150)).all()
    np.testing.assert_allclose(np.sqrt((errors**2).mean(0))[~whole], scatter[~whole], rtol=0.2)


def subject_names(subject: Subject) -> list[str]:
    return [subset.name for subset in subject.subsets]


def test_the_same_draw_serves_every_point_and_every_subset() -> None:
    subject = subject_of(trained(mlp))
    one, other = (Evaluator(subject, samples_per_class=4, seed=7) for _ in range(2))
    moved = subject.vector() * 1.2
    assert np.array_equal(one.at(moved).loss, other.at(moved).loss)
    found = one.at(moved)
    for subset, loss, loss_se in zip(subject.subsets, found.loss, found.loss_se, strict=True):
        mean, error = one.mean_and_error(one.losses_at(moved, subset), subset)
        assert (mean, error) == (pytest.approx(loss, rel=1e-6), pytest.approx(loss_se, rel=1e-5))
        batches = list(one.batches(subset, 3))
        assert sum(float(batch.weights.sum()) for batch in batches) == pytest.approx(1.0, rel=1e-6)
        with torch.no_grad(), subject.placed(moved):
            parts = [subject.loss(subject.network(batch.inputs), batch.targets) @ batch.weights for batch in batches]
        assert float(sum(parts)) == pytest.approx(loss, rel=1e-5)


def test_a_draw_too_small_for_a_standard_error_is_refused() -> None:
    with pytest.raises(InputError, match="--samples-per-class 1"):
        Evaluator(subject_of(trained(mlp)), samples_per_class=1)
