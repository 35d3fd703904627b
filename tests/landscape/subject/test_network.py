"""The private copy: what wraps a network is taken off, what cannot be measured is refused, and all is put back."""

import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from foundation.errors import InputError, LandscapeError
from landscape.hessian.measure import measure_hessian
from landscape.hessian.result import HessianSettings
from landscape.subject.network import own_tensors, private_copy, unchanged
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from tests.landscape.subject.test_subject import network, samples

FEW = HessianSettings(top=1, probes=2, slq_vectors=2, intervals=False)


class Aliased(nn.Module):
    """The same modules by two names, as feature extractors have them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Linear(3, 4)
        self.features = nn.Sequential(self.conv, self.norm, nn.Tanh())

    def forward(self, x):
        return self.head(self.features(x).mean((2, 3)))


def subject_of(net: nn.Module, **options) -> Subject:
    return Subject(net, samples(), train_counts=[9, 4, 2, 1], **options)


def test_every_subset_of_an_aliased_network_is_measured_alike():
    """After the first subset all derivatives were zero: class:1 had the eigenvalues of another function."""
    torch.manual_seed(0)
    net = Aliased()
    whole = measure_hessian(subject_of(net, dtype=torch.float64), settings=FEW)
    for name in ("class:0", "class:3", "balanced"):
        alone = measure_hessian(subject_of(net, dtype=torch.float64, subsets=[name]), settings=FEW).of(name)
        assert whole.of(name).top.values[0] == pytest.approx(alone.top.values[0], rel=1e-6)
        assert whole.of(name).bottom.values[0] == pytest.approx(
            alone.bottom.values[0], abs=1e-6 * abs(alone.top.values[0])
        )


def test_parameters_come_back_from_a_block_that_replaces_them():
    subject = subject_of(Aliased())
    replaced = {name: torch.zeros_like(p) for name, p in subject.parameters.items()}
    with own_tensors(subject.network):
        functional_call(subject.network, replaced, (subject.inputs(slice(0, 2)),))
    assert all(isinstance(p, nn.Parameter) for p in subject.network.conv._parameters.values() if p is not None)


def test_a_measurement_that_changes_parameters_is_not_believed():
    subject = subject_of(network())
    with pytest.raises(LandscapeError, match=r"changed parameter '0.weight'"), unchanged(subject.network):
        subject.network[0].weight.data[0, 0, 0, 0] += 1e-6
    with unchanged(subject.network):
        subject.network[1].running_mean += 1
    assert not subject.network[1].running_mean.any()  # buffers are put back


def test_what_wraps_a_network_is_taken_off():
    plain = network().eval()
    inner = torch.compile(network(), backend="eager")
    for wrapped in (torch.compile(network(), backend="eager"), nn.DataParallel(network()), nn.Sequential(inner)):
        copied = private_copy(wrapped, dtype=torch.float32, device="cpu")
        assert not any("_orig_mod" in name or "module." in name for name, _ in copied.named_parameters())
        inputs = samples().data
        torch.testing.assert_close(copied(inputs), plain(inputs))


def test_tensors_that_modules_store_follow_device_and_dtype():
    class Stored(nn.Linear):
        def __init__(self):
            super().__init__(36, 4)
            self.mixing, self.tables = torch.eye(4), [torch.ones(4)]
            self.last = self.weight.sum()  # hangs in a graph, which deepcopy refuses

        def forward(self, x):
            self.last = super().forward(x.flatten(1)) @ self.mixing * self.tables[0]
            return self.last

    subject = subject_of(Stored(), dtype=torch.float64)
    assert subject.network(subject.inputs(slice(0, 2))).dtype == torch.float64


def quantized() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Flatten(), nn.Linear(36, 4)), dtype=torch.qint8)


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("build", "said"),
    [
        (lambda: torch.jit.trace(network().eval(), samples().data), "cannot be measured: give the torch.nn.Module"),
        (lambda: nn.Sequential(nn.Flatten(), nn.Linear(36, 4, dtype=torch.complex64)), "is complex"),
        (lambda: nn.Sequential(nn.Flatten(), nn.LazyLinear(4)), "send one batch through"),
        (quantized, "is quantized"),
        (lambda: nn.Flatten(), "no parameters"),
        (lambda: network().requires_grad_(False), "every parameter of the network is frozen"),
        (lambda: "resnet18", "a str cannot be measured"),
    ],
)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_cannot_be_measured_is_refused_in_one_sentence(build, said):
    with pytest.raises(InputError, match=said):
        subject_of(build())


def test_frozen_parameters_are_left_out_unless_they_are_named():
    net = network()
    net[0].requires_grad_(False)
    assert list(subject_of(net).parameters) == ["1.weight", "1.bias", "5.weight", "5.bias"]
    assert len(subject_of(net, params="all").parameters) == 6
    assert list(subject_of(net, params=["0.*"]).parameters) == ["0.weight", "0.bias"]
    assert [p.requires_grad for p in net[0].parameters()] == [False, False]


def test_half_precision_weights_are_measured_in_float32():
    subject = subject_of(network().bfloat16())
    assert {p.dtype for p in subject.parameters.values()} == {torch.float32}
    assert subject.network(subject.inputs(slice(0, 2))).dtype == torch.float32


def test_small_labels_are_widened():
    data = samples()
    subject = Subject(network(), TensorSamples(data.data, data.labels.int()), train_counts=[9, 4, 2, 1])
    functional.cross_entropy(subject.network(subject.inputs(slice(0, 4))), subject.labels[:4])
