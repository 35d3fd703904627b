"""What a training run is made of."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, Strict

from foundation.declared import Finite, Seed, Text, check_fields
from foundation.errors import InputError, one_of
from training.schedules import SCHEDULES

OPTIMIZERS = ("sgd", "adamw")
DECAYS = ("all", "weights")
PRECISIONS = ("float32", "tf32", "bfloat16", "float64")

Place = Annotated[Path, Strict(False)]
Options = dict[Text, Any]
Some = Annotated[int, Field(ge=1, lt=1 << 31)]
Many = Annotated[int, Field(ge=0, lt=1 << 31)]
Rate = Annotated[Finite, Field(ge=0, le=1e37)]


@dataclass(frozen=True, kw_only=True)
class Config:
    """A training run, whole: the same configuration on the same machine gives the same tensors.

    Attributes:
        out: The run folder.
        data: A key of `training.data.DATASETS`.
        data_kwargs: The set's own options.
        data_dir: Where the set lies.
        imbalance: Largest class over smallest; None keeps every image of the set.
        imbalance_type: `"exp"` or `"step"`.
        data_seed: Which images are kept and held out.
        validation: Images a class to hold out; None for the set's habit, 0 for none.
        model: A key of `training.models.MODELS`.
        model_kwargs: The network's own options; `tuned` and `rank` tune a given body by little
            (`training.models.tuning`).
        weights: A file with the body's first weights: a checkpoint of a run, or a state dict.
        method: What `training.methods.build_method` knows, such as `"balanced-softmax+bgp"`.
        method_kwargs: The method's own options.
        epochs: Passes over the training split.
        batch_size: Images a step.
        optimizer: `"sgd"` with momentum or `"adamw"`. It and the next five are None for what suits the network:
            `training.models.registry.training_defaults`.
        lr: Base learning rate.
        weight_decay: On what `decay` says.
        decay: `"all"` parameters, or `"weights"`: matrices and kernels, no norms, biases and embeddings.
        clip: Largest norm of a step's gradient; 0 for any.
        warmup: Epochs of linear warm-up.
        momentum: Of SGD.
        nesterov: Whether SGD looks ahead.
        head_lr: The classifier's share of the learning rate.
        schedule: `"cosine"`, `"step"` or `"step-ib"`.
        seed: Of initial weights, order and augmentation.
        device: `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"`, …
        precision: `"float32"`, `"tf32"` (the same where there is none: multiplications of 10 bits on a GPU that has
            them), `"bfloat16"` (autocast) or `"float64"`.
        channels_last: Keep images and weights in NHWC order.
        compile: Compile the network by `torch.compile`; on a GPU a step's passes and objective are replayed from a CUDA
            graph where it is a single pass.
        augment: A key of `training.batches.augment.AUGMENTATIONS`; None for the data set's habit.
        accumulate: Parts that each batch is split into to fit the memory; the step is the same but for BatchNorm.
        ema: Decay of an exponential moving average of the weights, which is then what is evaluated and saved; 0: none.
            It grows to its value over the first steps.
        workers: Processes that read image files, for sets that do not fit the memory.
        evaluate_every: Epochs between evaluations of the training and test splits; the last one always counts.
        snapshots: How many checkpoints along the way to keep, evenly spaced.
    """

    out: Place
    data: Text = "fashion-mini"
    data_kwargs: Options = field(default_factory=dict)
    data_dir: Place | None = None
    imbalance: Annotated[Finite, Field(ge=1)] | None = 100.0
    imbalance_type: Literal["exp", "step"] = "exp"
    data_seed: Seed = 0
    validation: Many | None = None
    model: Text = "cnn"
    model_kwargs: Options = field(default_factory=dict)
    weights: Place | None = None
    method: Text = "ce"
    method_kwargs: Options = field(default_factory=dict)
    epochs: Some = 30
    batch_size: Some = 64
    optimizer: Text | None = None
    lr: Rate | None = None
    weight_decay: Rate | None = None
    decay: Text | None = None
    clip: Rate | None = None
    warmup: Rate | None = None
    momentum: Annotated[Finite, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    head_lr: Rate = 1.0
    schedule: Text = "cosine"
    seed: Seed = 0
    device: Text = "auto"
    precision: Text = "float32"
    channels_last: bool = True
    compile: bool = False
    augment: Text | None = None
    accumulate: Some = 1
    ema: Annotated[Finite, Field(ge=0)] = 0.0
    workers: Annotated[int, Field(ge=0, le=1024)] = 4
    evaluate_every: Some = 10
    snapshots: Many = 10

    def __post_init__(self) -> None:
        check_fields(self)
        if self.ema >= 1:
            raise InputError(f"ema {self.ema:g} would never move: give a decay below 1, such as 0.999")
        for kind, value, known in (
            ("precision", self.precision, PRECISIONS),
            ("schedule", self.schedule, SCHEDULES),
            ("optimizer", self.optimizer, OPTIMIZERS),
            ("decay", self.decay, DECAYS),
        ):
            if value is not None and value not in known:
                raise one_of(kind, value, known)

    def plain(self) -> dict[str, Any]:
        """The configuration as plain JSON types."""
        values = asdict(self)
        for name in ("out", "data_dir", "weights"):
            values[name] = None if values[name] is None else str(values[name])
        plain: dict[str, Any] = json.loads(json.dumps(values))  # a tuple and the list it is saved as are one setting
        return plain


# What may change between the halves of an interrupted run: where things lie and how often they are looked at.
FREE_TO_CHANGE = frozenset({"out", "data_dir", "device", "workers"})

# What runs were before they could say so.
FORMERLY = {"optimizer": "sgd", "decay": "all", "clip": 0.0}


def first_difference(old: dict[str, Any], new: dict[str, Any]) -> str | None:
    """The first setting, by name, that makes two configurations different runs; None when none does.

    Args:
        old: A saved configuration; what its version of the package did not know yet counts as left at the default.
        new: A whole configuration.

    Returns:
        The setting's name.
    """
    old = {**Config(out=Path()).plain(), **FORMERLY, **old}
    return next((name for name in new if name not in FREE_TO_CHANGE and old[name] != new[name]), None)
