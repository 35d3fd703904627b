"""What a method is put together from, beside the terms of `training.methods.objective`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from training.methods.objective import Outputs, PerClassTensor, TrainingProgress

Head = Literal["linear", "cosine"]


@dataclass(frozen=True)
class Loss:
    """The main loss of a method.

    Attributes:
        losses: `(outputs, labels, progress) -> (B,)`, one loss a sample.
        reads: What `losses` looks at: the logits alone, or the features as well.
        head: The classifier that the loss is made for.
        scale: The scale s of a cosine classifier's logits s·cos(w_c, h); None with a linear one.
    """

    losses: Callable[[Outputs, Tensor, TrainingProgress], Tensor]
    reads: Literal["logits", "network"] = "logits"
    head: Head = "linear"
    scale: float | None = None


@dataclass(frozen=True)
class Weights:
    """A weight for each class of the main loss.

    Attributes:
        at: `progress -> weights`, or None for equal ones.
    """

    at: Callable[[TrainingProgress], PerClassTensor | None]


@dataclass(frozen=True)
class Perturbation:
    """A perturbing optimizer, to be wrapped around any base optimizer.

    Attributes:
        name: Its name in `training.methods.optimizers.registry`.
        kwargs: Its arguments.
    """

    name: str
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Mixing:
    """How a batch's images and labels are mixed.

    Attributes:
        name: `"mixup"` or `"cmo"`.
        kwargs: Its arguments.
    """

    name: Literal["mixup", "cmo"]
    kwargs: dict[str, Any]


@dataclass(frozen=True)
class Sampling:
    """Which samples an epoch draws.

    Attributes:
        name: `"class-balanced"`, `"square-root"` or `"progressive"`.
    """

    name: str


@dataclass(frozen=True)
class Stage:
    """What follows the main training, with the backbone frozen.

    Attributes:
        name: `"crt"` (the classifier is trained anew), `"lws"` (one scale a class), `"tau-norm"` or `"post-hoc-la"`
            (nothing is trained).
        share: Epochs of the stage as a share of the main training's; 0 where nothing is trained.
        sampler: The stage's sampler, None for the plain one.
        method: The method that trains it.
        kwargs: That method's settings, or the stage's own where nothing is trained.
        lr: The stage's share of the learning rate.
        anew: Whether `crt` begins with a new classifier, or goes on with the trained one.
    """

    name: Literal["crt", "lws", "tau-norm", "post-hoc-la"]
    share: float
    sampler: str | None
    method: str
    kwargs: dict[str, Any] = field(default_factory=dict)
    lr: float = 1.0
    anew: bool = True


@dataclass(frozen=True)
class Transform:
    """What a method does to the main loss, whichever it is.

    Attributes:
        apply: The loss to the changed loss; raises InputError where it does not go with it.
        stage: The later stage that belongs to it, or None.
    """

    apply: Callable[[Loss], Loss]
    stage: Stage | None = None
