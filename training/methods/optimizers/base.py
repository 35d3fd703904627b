"""How a training step is taken: one protocol for plain and perturbing optimizers.

The loop hands a step its batch as a function that runs one forward pass at the network's present weights:

    def losses(*objectives):                             # the method's own objective when none is named
        for images, labels, mix in micro_batches:        # one, or several with gradient accumulation
            with torch.autocast(...):
                outputs = Outputs(...)
            yield tuple(objective(outputs, labels, mix=mix, ...) / len(micro_batches)
                        for objective in objectives or (method.objective,))

It yields one scalar an objective for each micro-batch and may be called again at other weights, with the same images
and the same augmentation. The step runs the backward passes itself, so that one forward serves several objectives.

Under `DistributedDataParallel` a plain step leaves the averaging of gradients to it. A perturbing step does not: it
needs gradients that are not averaged, runs all its passes under `no_sync` and averages the finished gradient once.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from training.distributed import world_size
from training.methods.method import Method
from training.methods.objective import TrainingProgress

Losses = Callable[..., Iterator[tuple[Tensor, ...]]]
Gradients = list[Tensor]
Radius = float | Sequence[Sequence[float]]


class Stepper(Protocol):
    """Takes training steps."""

    def step(self, losses: Losses, *, progress: TrainingProgress) -> Tensor:
        """Takes one step of the base optimizer.

        Args:
            losses: The batch, see the module.
            progress: Where training stands.

        Returns:
            The objective at the weights before the step, a detached scalar.
        """


class Plain:
    """The base optimizer as it is.

    Args:
        optimizer: The base optimizer.
        clip: Largest norm of the gradient; 0 for any.
    """

    def __init__(self, optimizer: Optimizer, *, clip: float = 0.0) -> None:
        self._optimizer, self._clip = optimizer, clip

    def step(self, losses: Losses, *, progress: TrainingProgress) -> Tensor:
        """One backward pass and one step, see `Stepper.step`."""
        self._optimizer.zero_grad(set_to_none=True)
        values = []
        for (loss,) in losses():
            loss.backward()  # type: ignore[no-untyped-call]
            values.append(loss.detach())
        clipped_step(self._optimizer, self._clip)
        return torch.stack(values).sum()


class Perturbing:
    """What perturbing optimizers share: gradients of objectives, weights moved and put back, the final step.

    Args:
        method: What is trained.
        optimizer: The base optimizer; its parameters that require gradients are perturbed.
        network: The network that `losses` runs, wrapped in `DistributedDataParallel` or not.
        synchronized: Perturb along the gradient of the global batch, the same on all ranks, for one more averaging a
            step; otherwise each rank perturbs along its own shard's gradient, as the SAM paper does.
        update_bn: Let the passes at perturbed weights update BatchNorm's running statistics too.
        clip: Largest norm of the gradient that the base optimizer steps with; 0 for any.
    """

    def __init__(
        self,
        method: Method,
        optimizer: Optimizer,
        network: nn.Module,
        *,
        synchronized: bool = False,
        update_bn: bool = False,
        clip: float = 0.0,
    ) -> None:
        self.method, self.optimizer, self._clip = method, optimizer, clip
        self._network = network
        self._synchronized = synchronized
        self._norms = [] if update_bn else [m for m in network.modules() if isinstance(m, _BatchNorm)]
        self.parameters = [p for group in optimizer.param_groups for p in group["params"] if p.requires_grad]

    def step(self, losses: Losses, *, progress: TrainingProgress) -> Tensor:
        """Finds the method's gradient, averages it over ranks and lets the base optimizer step."""
        local = isinstance(self._network, DistributedDataParallel)
        with self._network.no_sync() if local else contextlib.nullcontext():  # type: ignore[operator]
            value, gradients = self.gradient(losses, progress)
        for parameter, gradient in zip(self.parameters, averaged(gradients), strict=True):
            parameter.grad = gradient
        clipped_step(self.optimizer, self._clip)
        return value

    def gradient(self, losses: Losses, progress: TrainingProgress) -> tuple[Tensor, Gradients]:
        """The method itself.

        Args:
            losses: The batch.
            progress: Where training stands.

        Returns:
            The objective at the present weights and the gradient to step with, of this rank.
        """
        raise NotImplementedError

    def gradients(self, losses: Losses, *objectives: Callable[..., Tensor]) -> tuple[Tensor, list[Gradients]]:
        """Gradients of objectives at the present weights from one forward pass.

        Args:
            losses: The batch.
            *objectives: What to differentiate, the method's own objective when none is named.

        Returns:
            The objectives' values, (k,) detached, and each objective's gradient.
        """
        total: list[Gradients] = []
        values = []
        for yielded in losses(*objectives):
            parts = [
                list(
                    torch.autograd.grad(
                        loss,
                        self.parameters,
                        retain_graph=loss is not yielded[-1],
                        materialize_grads=True,
                    )
                )
                for loss in yielded
            ]
            if total:
                for sums, part in zip(total, parts, strict=True):
                    torch._foreach_add_(sums, part)
            else:
                total = parts
            values.append(torch.stack([loss.detach() for loss in yielded]))
        return torch.stack(values).sum(0), total

    def direction(self, gradients: Gradients) -> Gradients:
        """What to perturb along: this rank's gradient, or that of the global batch if synchronized."""
        return averaged(gradients) if self._synchronized else gradients

    @contextlib.contextmanager
    def perturbed(self, by: Gradients) -> Iterator[None]:
        """The weights moved by `by`, and put back exactly; BatchNorm's running statistics stand still meanwhile."""
        values = [parameter.detach() for parameter in self.parameters]
        kept = [value.clone() for value in values]
        tracking = [norm.track_running_stats for norm in self._norms]
        torch._foreach_add_(values, by)
        torch.clear_autocast_cache()  # an autocast around the whole step would go on with its copies of the old weights
        for norm in self._norms:
            norm.track_running_stats = False
        try:
            yield
        finally:
            torch._foreach_copy_(values, kept)
            torch.clear_autocast_cache()
            for norm, tracks in zip(self._norms, tracking, strict=True):
                norm.track_running_stats = tracks


def clipped_step(optimizer: Optimizer, clip: float) -> None:
    """The base optimizer's step; a gradient longer than `clip` is first shortened to it, unless `clip` is 0."""
    if clip:
        nn.utils.clip_grad_norm_([p for group in optimizer.param_groups for p in group["params"]], clip)
    optimizer.step()


def averaged(gradients: Gradients) -> Gradients:
    """The mean over ranks, in one message; themselves without a process group."""
    if world_size() == 1:
        return gradients
    flat = torch.cat([gradient.reshape(-1) for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= world_size()
    parts = torch.split(flat, [gradient.numel() for gradient in gradients])
    return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]


def norm(tensors: Sequence[Tensor]) -> Tensor:
    """The Euclidean norm of all numbers together, a scalar tensor (no wait for the GPU)."""
    total: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(list(tensors))))
    return total


def rescaled_to_norm(tensors: Gradients, length: float | Tensor) -> Gradients:
    """The tensors together rescaled to a Euclidean length; zeros stay zeros."""
    size = norm(tensors)
    return times(tensors, length / size.clamp(min=torch.finfo(size.dtype).tiny))


def times(tensors: Sequence[Tensor], factor: float | Tensor) -> Gradients:
    """Each tensor times a number."""
    return list(torch._foreach_mul(list(tensors), factor))


def plus(tensors: Sequence[Tensor], others: Sequence[Tensor], factor: float = 1.0) -> Gradients:
    """The tensors, plus a number times the others."""
    return list(torch._foreach_add(list(tensors), list(others), alpha=factor))


def inner(tensors: Sequence[Tensor], others: Sequence[Tensor]) -> Tensor:
    """The inner product over all numbers, a scalar tensor."""
    return torch.stack([(a * b).sum() for a, b in zip(tensors, others, strict=True)]).sum()


def radius_at(rho: Radius, progress: TrainingProgress) -> float:
    """The perturbation's length at this point of training.

    Args:
        rho: A number, or steps `[[from, length], ...]` in ascending shares of the training, the first from 0.
        progress: Where training stands.

    Returns:
        The length.
    """
    if isinstance(rho, int | float):
        return float(rho)
    return float([length for start, length in rho if start <= progress.share][-1])
