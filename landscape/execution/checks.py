"""Whether a subject's loss can be measured at all: the data are fixed, the loss repeats and is each sample's own."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from foundation.errors import InputError, LandscapeError
from landscape.execution.agreement import AGREEMENT
from landscape.subject.losses import LossFunction, cross_entropy
from landscape.subject.nested import Inputs, chosen, same, shapes
from landscape.subject.network import unchanged
from landscape.subject.subject import Subject

SAMPLES = 64
"""Samples that are tried, some of every class where there are no more classes."""

Options = ParamSpec("Options")
Result = TypeVar("Result")
Measure = Callable[Concatenate[Subject, Options], Result]

_passed: WeakKeyDictionary[nn.Module, list[LossFunction]] = WeakKeyDictionary()


def guarded(
    measure: Callable[Concatenate[Subject, Options], Result],
) -> Callable[Concatenate[Subject, Options], Result]:
    """Makes a measurement check its subject first and prove last that the network is as it was.

    Args:
        measure: A function of a subject and of how it is measured.

    Returns:
        The same function, which raises what `check_loss` and `unchanged` do.
    """

    @functools.wraps(measure)
    def checked(subject: Subject, /, *arguments: Options.args, **options: Options.kwargs) -> Result:
        check_loss(subject)
        with unchanged(subject.network):
            return measure(subject, *arguments, **options)

    return checked


def check_loss(subject: Subject) -> None:
    """Checks that inputs, outputs and losses are what every measurement takes them for; once a network and loss.

    Args:
        subject: What will be measured.

    Raises:
        InputError: The network gives no logits (n, C), or the loss no number a sample.
        LandscapeError: Something differs from pass to pass; the sentence names the likely cause.
    """
    done = _passed.setdefault(subject.network, [])
    if any(loss is subject.loss for loss in done):
        return
    rows = subject.few(SAMPLES)
    inputs, targets = subject.inputs(rows), subject.targets(rows)
    fetched, again = subject.fetched(rows), subject.fetched(rows)
    padded = shapes(fetched) != shapes(inputs)  # to the longest of those fetched together
    if not same(fetched, again) or not (padded or same(inputs, fetched)):
        raise LandscapeError(
            "the data give other inputs each time they are fetched: switch their augmentation off, for what is "
            "measured must stay the same"
        )
    logits, losses = _pass(subject, inputs, targets)
    second = _pass(subject, inputs, targets)
    scale = float(logits.abs().nan_to_num(posinf=0.0).max()) + 1
    if not (_close(logits, second[0], scale) and _close(losses, second[1], scale)):
        raise LandscapeError(
            "two passes over the same samples gave different losses: the network draws random numbers in eval "
            "mode (functional dropout without training=self.training, say) or changes its own state"
        )
    for row in {0, len(rows) // 2, len(rows) - 1}:
        part = slice(row, row + 1)
        alone = _pass(subject, chosen(inputs, part), targets[part])
        if not (_close(logits[part], alone[0], scale) and _close(losses[part], alone[1], scale)):
            raise LandscapeError(
                "a sample has another loss alone than beside others: the network or the loss mixes the samples of a "
                "batch (batch statistics in eval mode, a softmax over the batch), and no class has a loss of its own"
            )
    done.append(subject.loss)


def check_finite(subject: Subject) -> None:
    """Checks the loss, and refuses a network that has diverged.

    Args:
        subject: What will be measured.

    Raises:
        InputError: As `check_loss` does.
        LandscapeError: As `check_loss` does, or some loss is not finite.
    """
    check_loss(subject)
    rows = subject.few(SAMPLES)
    if not bool(_pass(subject, subject.inputs(rows), subject.targets(rows))[1].isfinite().all()):
        raise LandscapeError("the loss of the trained network is not finite: the checkpoint has diverged")


@torch.no_grad()
def _pass(subject: Subject, inputs: Inputs, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Outputs and losses of some samples, or a sentence."""
    plain, precision = isinstance(inputs, Tensor), str(subject.dtype).removeprefix("torch.")
    try:
        logits = subject.network(inputs)
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, AssertionError) as error:
        raise InputError(
            f"the network does not take inputs {shapes(inputs)} in {precision} ({_line(error)}): {_cure(error)}"
        ) from error
    samples = len(targets)
    if not isinstance(logits, Tensor):
        raise InputError(
            f"the network returns a {type(logits).__name__}: say which tensor of it is meant, such as "
            f"forward=lambda network, inputs: {'network(inputs)' if plain else 'network(**inputs)'}{_part(logits)}"
        )
    wanted = subject.loss is not cross_entropy or logits.dim() == 2
    if not wanted or logits.dim() == 0 or len(logits) != samples:
        raise InputError(
            f"the network returns {tuple(logits.shape)} for {samples} samples: give forward, a function of network and "
            "inputs that returns logits (n, C), or the loss that goes with such outputs"
        )
    try:
        losses = subject.loss(logits, targets)
    except (RuntimeError, TypeError, ValueError, IndexError) as error:
        raise InputError(
            f"the loss does not take logits {tuple(logits.shape)} and targets {tuple(targets.shape)} in {precision} "
            f"({_line(error)}): {_cure(error)}"
        ) from error
    if not isinstance(losses, Tensor) or losses.shape != targets.shape[:1]:
        given = tuple(losses.shape) if isinstance(losses, Tensor) else type(losses).__name__
        raise InputError(
            f"the loss returned shape {given} for {samples} samples: it must be unreduced, (n,), such as with "
            "reduction='none'"
        )
    return logits.detach(), losses.detach()


def _cure(error: Exception) -> str:
    if any(word in str(error) for word in ("dtype", "scalar type", "Double", "double")):
        return "measure in float32"
    return "give one that takes any number of samples, a single one too, as they are given here"


def _part(outputs: Any) -> str:
    """How the logits of outputs that are no tensor are usually reached."""
    if isinstance(outputs, Mapping) and not hasattr(outputs, "logits"):
        return f"[{next(iter(outputs), 'logits')!r}]"
    return ".logits" if hasattr(outputs, "logits") else "[0]"


def _close(one: Tensor, other: Tensor, scale: float) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=AGREEMENT * scale, equal_nan=True)


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
