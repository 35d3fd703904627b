from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from foundation.errors import InputError
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from landscape.surface.plane import orthonormal_plane, random_plane


def subject_of(network: nn.Module, shape: tuple[int, ...] = (3, 8, 8), **options: object) -> Subject:
    labels = torch.arange(12) % 3
    inputs = torch.randn(12, *shape, generator=torch.Generator().manual_seed(1))
    return Subject(network, TensorSamples(inputs, labels), train_counts=[6, 4, 2], **options)


def convolutional(width: int = 5) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.Flatten(), nn.Linear(width * 64, 3)
    )


def filters(subject: Subject, vector: torch.Tensor) -> dict[str, torch.Tensor]:
    return {n: t.flatten(1).double() for n, t in subject.split(vector).items() if t.dim() > 1}


@given(seed=st.integers(0, 2**31), width=st.integers(1, 9))
@settings(max_examples=25, deadline=None)
def test_two_random_directions_are_orthogonal_filter_by_filter(seed: int, width: int) -> None:
    subject = subject_of(convolutional(width))
    first, second = (filters(subject, d) for d in random_plane(subject, seed=seed).directions)
    for name in first:
        cosine = (first[name] * second[name]).sum(1) / (first[name].norm(dim=1) * second[name].norm(dim=1))
        assert cosine.abs().max() < 1e-6


def test_every_filter_of_a_random_direction_is_as_long_as_the_networks_own() -> None:
    subject = subject_of(convolutional())
    plane = random_plane(subject, seed=3)
    own = filters(subject, subject.vector())
    for direction in plane.directions:
        for name, rows in filters(subject, direction).items():
            torch.testing.assert_close(rows.norm(dim=1), own[name].norm(dim=1), rtol=1e-6, atol=0)


def test_random_directions_are_gaussian_not_uniform() -> None:
    """Only Gaussian directions favor no axis; their kurtosis is 3, that of uniform ones 1.8."""
    subject = subject_of(nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, 300)))
    direction = subject.split(random_plane(subject).directions[0])["1.weight"].double()
    rows = direction / direction.square().mean(1, keepdim=True).sqrt()
    assert float(rows.pow(4).mean()) == pytest.approx(3.0, abs=0.15)


def test_vectors_and_buffers_stay_still_in_a_random_plane() -> None:
    subject = subject_of(convolutional())
    before = {name: buffer.clone() for name, buffer in subject.network.named_buffers()}
    plane = random_plane(subject)
    for direction in plane.directions:
        for tensor in subject.split(direction).values():
            assert tensor.dim() > 1 or not tensor.any()
    with subject.placed(plane.at(0.7, -0.3)):
        for name, buffer in subject.network.named_buffers():
            assert torch.equal(buffer, before[name])


def test_transposed_convolutions_are_normalized_along_their_output_channels() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.ConvTranspose2d(3, 4, 2), nn.Flatten(), nn.Linear(4 * 81, 3))
    subject = subject_of(network)
    direction = subject.split(random_plane(subject).directions[0])["0.weight"]
    own = subject.parameters["0.weight"].detach()
    for channel in range(4):
        torch.testing.assert_close(direction[:, channel].norm(), own[:, channel].norm())


def test_rescaling_a_layer_rescales_its_direction() -> None:
    network = convolutional()
    plain = subject_of(network)
    with torch.no_grad():
        network[0].weight.mul_(7.0)
    scaled = subject_of(network)
    for one, seven in zip(random_plane(plain).directions, random_plane(scaled).directions, strict=True):
        torch.testing.assert_close(scaled.split(seven)["0.weight"], 7.0 * plain.split(one)["0.weight"])


def test_filters_of_one_number_have_no_second_direction() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 3, 1, groups=3), nn.Flatten(), nn.Linear(3 * 64, 3))
    subject = subject_of(network)
    first, second = random_plane(subject).directions
    assert subject.split(first)["0.weight"].abs().min() > 0
    assert not subject.split(second)["0.weight"].any()


def test_dead_filters_stay_dead() -> None:
    network = convolutional()
    with torch.no_grad():
        network[0].weight[2].zero_()
    subject = subject_of(network)
    for direction in random_plane(subject).directions:
        assert bool(direction.isfinite().all())
        assert not subject.split(direction)["0.weight"][2].any()


def test_a_random_plane_of_vectors_alone_is_refused() -> None:
    with pytest.raises(InputError, match="no measured parameter has filters"):
        random_plane(subject_of(convolutional(), params=["1.*"]))


def test_an_orthonormal_plane_measures_distances() -> None:
    origin, first, second = torch.randn(3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    plane = orthonormal_plane("pca", origin, first, second, ("one", "two"))
    assert torch.equal(plane.at(0.0, 0.0), origin)
    assert float((plane.at(3.0, -4.0) - origin).norm()) == pytest.approx(5.0)
    assert float(plane.directions[0] @ plane.directions[1]) == pytest.approx(0.0, abs=1e-14)


def test_parallel_or_empty_directions_are_refused() -> None:
    origin, first = torch.zeros(5), torch.arange(5.0)
    with pytest.raises(InputError, match="parallel"):
        orthonormal_plane("pca", origin, first, -2 * first, ("one", "two"))
    with pytest.raises(InputError, match="length 0"):
        orthonormal_plane("pca", origin, torch.zeros(5), None, ("one",))
