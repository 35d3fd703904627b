"""Networks and losses that cannot be measured are refused in one sentence that names the cause."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from foundation.errors import LandscapeError
from landscape.execution.checks import check_finite, check_loss
from landscape.hessian.measure import measure_hessian
from landscape.hessian.result import HessianSettings
from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.result import SharpnessSettings
from landscape.subject.subject import Subject
from landscape.surface.measure import measure_surface
from tests.landscape.subject.test_subject import network, samples


class Noisy(nn.Linear):
    def forward(self, inputs):
        return functional.dropout(super().forward(inputs.flatten(1)), 0.5, training=True)


def subject(net: nn.Module, **options) -> Subject:
    return Subject(net, samples(), train_counts=[9, 4, 2, 1], **options)


def test_random_numbers_in_a_forward_are_named():
    torch.manual_seed(0)
    with pytest.raises(LandscapeError, match="draws random numbers"):
        check_loss(subject(Noisy(36, 4)))


def test_a_diverged_network_is_refused():
    broken = network()
    with torch.no_grad():
        broken[5].bias.fill_(float("nan"))
    with pytest.raises(LandscapeError, match="not finite"):
        check_finite(subject(broken))


class Augmented:
    """Other inputs at every fetch."""

    def __init__(self) -> None:
        self.labels, self.generator = samples().labels, torch.Generator().manual_seed(0)

    def inputs(self, indices):
        return samples().data[indices] + 0.1 * torch.randn(len(indices), 1, 6, 6, generator=self.generator)


def test_augmented_data_are_named():
    with pytest.raises(LandscapeError, match="other inputs each time they are fetched"):
        check_loss(Subject(network(), Augmented(), train_counts=[9, 4, 2, 1]))


class Mixing(nn.Linear):
    def forward(self, inputs):
        logits = super().forward(inputs.flatten(1))
        return logits - logits.mean(0)


class Drifting(nn.Linear):
    def forward(self, inputs):
        self.bias.data += 1e-2 * torch.arange(4)
        return super().forward(inputs.flatten(1))


class Pair(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs.flatten(1)), inputs


@pytest.mark.parametrize(
    ("net", "options", "said"),
    [
        (Mixing(36, 4), {}, "another loss alone than beside others"),
        (Drifting(36, 4), {}, "changes its own state"),
        (Pair(36, 4), {}, "returns a tuple: say which"),
        (network(), {"loss": functional.cross_entropy}, "it must be unreduced"),
        (nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), {}, "Target 3 is out of bounds"),
        (nn.Sequential(nn.Flatten(), nn.Linear(35, 4)), {}, "does not take inputs"),
        (network(), {"loss": lambda z, y: functional.cross_entropy(z, y) + z[:, 0] - z[:, 0]}, "another loss alone"),
    ],
)
def test_what_is_no_loss_a_sample_is_refused_in_one_sentence(net, options, said):
    with pytest.raises(LandscapeError, match=said):
        check_loss(subject(net, **options))


def weighted(logits, labels):
    return functional.cross_entropy(logits, labels, weight=torch.tensor([1.0, 2.0, 4.0, 8.0]), reduction="none")


class Single(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs.flatten(1).float())


@pytest.mark.parametrize(("net", "options"), [(network(), {"loss": weighted}), (Single(36, 4), {})])
def test_what_does_not_run_in_float64_is_measured_in_float32(net, options):
    with pytest.raises(LandscapeError, match="measure in float32"):
        check_loss(subject(net, dtype=torch.float64, **options))
    settings = HessianSettings(top=1, probes=2, slq_vectors=2, intervals=False)
    found = measure_hessian(subject(net, subsets=["all"], **options), settings=settings).of("all")
    assert found.top.values[0] > 0 and torch.tensor(found.negative_curvature.noise_floor).isnan()


@pytest.mark.parametrize("measure", [measure_hessian, measure_sharpness, measure_surface])
def test_every_measurement_checks_first(measure):
    with pytest.raises(LandscapeError, match="another loss alone"):
        measure(subject(Mixing(36, 4)))


class Viewing(nn.Module):
    """Refuses images whose channels lie innermost."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(32, 4)

    def forward(self, x):
        return self.head(self.conv(x).view(len(x), -1))


def test_a_view_behind_a_convolution_is_measured():
    of = subject(Viewing())
    with torch.no_grad():
        losses = of.loss(of.network(of.inputs(slice(0, 16))), of.labels)
    assert measure_sharpness(of, settings=SharpnessSettings(radii=(0.1,), steps=1, draws=2)).loss[0] == pytest.approx(
        float(losses.mean()), rel=1e-5
    )


def test_recalibration_leaves_a_norm_that_no_pass_reaches():
    net = network()
    net.add_module("unused", nn.Module())
    net.unused.norm = nn.BatchNorm2d(3)
    net.unused.forward = lambda x: x
    check_loss(subject(net, batch_norm="recalibrated"))
