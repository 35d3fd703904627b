"""Directions in weight space and the plane or line that they span.

Directions move measured parameters only, never buffers: adding noise to a running variance makes it negative and
the loss NaN.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvTransposeNd

from foundation.errors import InputError
from landscape.subject.subject import Subject

NEGLIGIBLE = 1e-6
"""What projection leaves of a filter below this share of its length is rounding, not a direction."""


@dataclass(frozen=True)
class Plane:
    """A plane through weight space, or a line where there is one direction.

    Attributes:
        kind: `random`, `gradient`, `eigen`, `checkpoints` or `pca`.
        origin: The point at coordinates (0, 0), (P,).
        directions: One or two, (P,) each; a coordinate counts multiples of its direction.
        axes: What each direction is, in words.
        points: Named points of the plane, such as other checkpoints: their coordinates (a, b).
        left_out: For each named point the share of its distance from the origin that the plane does not show.
        ranges: Where each axis begins and ends, where the plane itself says so.
        subset: Index of the subset it was made for, whose loss decides how far to look otherwise.
    """

    kind: str
    origin: Tensor
    directions: tuple[Tensor, ...]
    axes: tuple[str, ...]
    points: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    left_out: Mapping[str, float] = field(default_factory=dict)
    ranges: tuple[tuple[float, float], ...] = ()
    subset: int = 0

    def at(self, a: float, b: float = 0.0) -> Tensor:
        """The weights at coordinates (a, b), (P,); exactly the origin at (0, 0)."""
        moved = torch.add(self.origin, self.directions[0], alpha=a)
        return moved if len(self.directions) == 1 else moved.add_(self.directions[1], alpha=b)


def random_plane(subject: Subject, *, seed: int = 0) -> Plane:
    """Two random directions, orthogonal filter by filter, each filter scaled to the length of the network's own.

    Filter normalization of Li et al., "Visualizing the Loss Landscape of Neural Nets" (NeurIPS 2018, section 4):
    d ← d ‖w‖ / ‖d‖ for each filter, so that networks whose weights differ only in scale show the same picture.
    One-dimensional tensors (biases, normalization layers) stay still. The same seed draws the same raw directions
    for every network of the same shape.

    Args:
        subject: What is measured.
        seed: Of the draw.

    Returns:
        The plane; coordinates count filter lengths.

    Raises:
        InputError: Every measured parameter is one-dimensional.
    """
    generator = torch.Generator().manual_seed(seed)
    transposed = _transposed(subject.network)
    first: list[Tensor] = []
    second: list[Tensor] = []
    for name, parameter in subject.parameters.items():
        draws = torch.randn(2, *parameter.shape, generator=generator, dtype=torch.float64)
        if parameter.dim() < 2:
            draws.zero_()
        weight = parameter.detach().cpu().double()
        one, two = (_filters(t, name in transposed) for t in draws)
        lengths = _filters(weight, name in transposed).norm(dim=1, keepdim=True)
        for rows, parts in ((one, first), (_without(two, one), second)):
            scaled = rows * (lengths / rows.norm(dim=1, keepdim=True)).nan_to_num_(nan=0.0, posinf=0.0)
            parts.append(_unfiltered(scaled, parameter.shape, name in transposed).reshape(-1))
    if not any(bool(part.any()) for part in first):
        raise InputError("no measured parameter has filters to perturb: widen --params or choose another --plane")
    origin = subject.vector()
    directions = tuple(torch.cat(parts).to(origin) for parts in (first, second))
    return Plane("random", origin, directions, ("random direction 1", "random direction 2"))


def orthonormal_plane(kind: str, origin: Tensor, first: Tensor, second: Tensor | None, axes: tuple[str, ...]) -> Plane:
    """The plane of two raw directions over all parameters, made orthonormal: coordinates are distances.

    Args:
        kind: What the plane is.
        origin: The point at (0, 0), (P,).
        first: First direction, (P,), of any length.
        second: Second direction, (P,); None for a line.
        axes: What each direction is, in words.

    Returns:
        The plane.

    Raises:
        InputError: A direction is zero, or the second is parallel to the first.
    """
    one = _unit(first, axes[0])
    if second is None:
        return Plane(kind, origin, (one.to(origin),), axes)
    two = _unit(second, axes[1])
    for _ in range(2):  # twice is enough (Parlett, The Symmetric Eigenvalue Problem, section 6.9)
        two = two - (two @ one) * one
    if float(two.norm()) < NEGLIGIBLE:
        raise InputError(f"{axes[1]} is parallel to {axes[0]}: they span a line, not a plane")
    return Plane(kind, origin, (one.to(origin), (two / two.norm()).to(origin)), axes)


def _unit(vector: Tensor, name: str) -> Tensor:
    wide = vector.double()
    length = float(wide.norm())
    if not 0.0 < length < float("inf"):
        raise InputError(f"{name} has length {length:g}: it gives no direction")
    return wide / length


def _filters(tensor: Tensor, transposed: bool) -> Tensor:
    """One row a filter, (filters, numbers of a filter); a vector is a single row."""
    if tensor.dim() < 2:
        return tensor.reshape(1, -1)
    return (tensor.transpose(0, 1) if transposed else tensor).flatten(1)


def _unfiltered(rows: Tensor, shape: torch.Size, transposed: bool) -> Tensor:
    if len(shape) < 2 or not transposed:
        return rows.reshape(shape)
    return rows.reshape(shape[1], shape[0], *shape[2:]).transpose(0, 1)


def _without(rows: Tensor, others: Tensor) -> Tensor:
    """`rows` less their part along `others`, row by row; zero where nothing but rounding is left."""
    before = rows.norm(dim=1, keepdim=True)
    for _ in range(2):
        share = (rows * others).sum(1, keepdim=True) / others.square().sum(1, keepdim=True)
        rows = rows - share.nan_to_num(nan=0.0) * others
    return torch.where(rows.norm(dim=1, keepdim=True) > NEGLIGIBLE * before, rows, torch.zeros_like(rows))


def _transposed(network: nn.Module) -> set[str]:
    """Weights whose filters lie along the second dimension: those of transposed convolutions."""
    modules = network.named_modules()
    return {f"{name}.weight".lstrip(".") for name, module in modules if isinstance(module, _ConvTransposeNd)}
