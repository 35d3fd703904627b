"""Opens `--ckpt`: the only place that asks `training` for its registries, and loads it only then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from foundation.errors import InputError
from foundation.files import sha256_of
from foundation.packages import require_own
from landscape.files.foreign_checkpoint import bare_name
from landscape.subject.losses import LossFunction, cross_entropy
from landscape.subject.subject import Subject

if TYPE_CHECKING:
    from training.checkpoint import Checkpoint

SPLITS = ("train", "validation", "test")
DTYPES = {"float32": torch.float32, "float64": torch.float64}


@dataclass(frozen=True)
class Opened:
    """A checkpoint ready to be measured.

    Attributes:
        path: The checkpoint's file.
        sha256: Of its bytes.
        checkpoint: Its contents.
        subject: Its network on the split's data.
        config: What makes a measurement of it the thing it is; JSON types.
    """

    path: Path
    sha256: str
    checkpoint: Checkpoint
    subject: Subject
    config: Mapping[str, Any]


def open_checkpoint(
    path: Path,
    *,
    split: str = "train",
    subsets: Sequence[str] | None = None,
    params: Sequence[str] | None = None,
    loss: str = "evaluation",
    batch_norm: str = "eval",
    dtype: str = "float32",
    device: torch.device | str = "cpu",
    data_dir: Path | None = None,
) -> Opened:
    """Opens a checkpoint and the data it was trained on.

    Args:
        path: A checkpoint written by `training`.
        split: `"train"`, `"validation"` or `"test"`.
        subsets: Names to measure; all by default.
        params: Glob patterns of parameter names; all by default.
        loss: `"evaluation"` (plain cross-entropy of the inference logits) or `"trained"`.
        batch_norm: `"eval"` or `"recalibrated"`, over the training split.
        dtype: `"float32"` or `"float64"`.
        device: Where to measure.
        data_dir: Where the data set lies, when it is not embedded.

    Returns:
        The opened checkpoint.

    Raises:
        InputError: The file is missing, corrupt or unsafe, or a name is unknown.
    """
    before = _state_of(path)
    checkpoint = _load(path)
    from training.data import open_split
    from training.methods.per_sample import sample_losses
    from training.models import build_model
    from training.models.bounded import no_larger_than

    for option, value, known in (
        ("split", split, SPLITS),
        ("loss", loss, ("evaluation", "trained")),
        ("dtype", dtype, tuple(DTYPES)),
    ):
        if value not in known:
            raise InputError(f"unknown {option} {value!r}: choose one of {', '.join(known)}")
    with no_larger_than(checkpoint.state_dict, repr(str(path))):
        network = build_model(checkpoint.model["name"], **checkpoint.model["kwargs"])
    try:
        network.load_state_dict({bare_name(name): tensor for name, tensor in checkpoint.state_dict.items()})
    except RuntimeError as error:
        raise InputError(
            f"the weights in {str(path)!r} do not fit its network {checkpoint.model['name']!r} "
            f"({str(error).splitlines()[1].strip()}): write the checkpoint again with this version"
        ) from None
    record = checkpoint.data
    counts = [int(n) for n in record["class_counts"]]
    function: LossFunction = cross_entropy
    trained_loss = {}
    if loss == "trained":
        # Class means ran over batches, under gradient accumulation over their parts.
        batch = -(-checkpoint.config["batch_size"] // checkpoint.config.get("accumulate", 1))
        function = losses = sample_losses(checkpoint.method, counts, batch_size=batch)
        trained_loss = {"trained_loss": losses.record} if losses.record else {}
    subject = Subject(
        network,
        open_split(record, split, data_dir),
        train_counts=counts,
        class_names=record["class_names"],
        loss=function,
        subsets=subsets,
        params=params,
        batch_norm=batch_norm,
        calibration=open_split(record, "train", data_dir) if batch_norm == "recalibrated" else None,
        dtype=DTYPES[dtype],
        device=device,
    )
    config = {
        "split": split,
        "loss": loss,
        "params": list(params) if params else ["*"],
        "batch_norm": batch_norm,
        "dtype": dtype,
        "data": record["name"],
        "model": checkpoint.model["name"],
        "method": checkpoint.method["name"],
        "epoch": checkpoint.epoch,
        "groups": {**{name: list(members) for name, members in subject.groups.named()}, "rule": subject.groups.rule},
        **trained_loss,
    }
    sha256 = sha256_of(path)
    if _state_of(path) != before:
        raise InputError(f"{str(path)!r} was replaced while it was opened: wait for its training to end")
    return Opened(path, sha256, checkpoint, subject, config)


def weights(path: Path, subject: Subject) -> Tensor:
    """The measured parameters of another checkpoint of the same network, for planes through several.

    Args:
        path: The other checkpoint.
        subject: Of the first.

    Returns:
        Its weights in the subject's order, dtype and device, (P,).

    Raises:
        InputError: The file is missing, corrupt or unsafe, or holds another network.
    """
    state = {bare_name(name): tensor for name, tensor in _load(path).state_dict.items()}
    for name, parameter in subject.parameters.items():
        if name not in state or state[name].shape != parameter.shape:
            raise InputError(f"{str(path)!r} holds another network than --ckpt ({name} differs): give one of its kind")
    flat = torch.cat([state[name].reshape(-1) for name in subject.parameters])
    return flat.to(device=subject.device, dtype=subject.dtype)


def _state_of(path: Path) -> tuple[int, int, int] | None:
    """What changes when a file is replaced or written; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns


def _load(path: Path) -> Checkpoint:
    require_own("training")
    from training.checkpoint import load_checkpoint

    return load_checkpoint(path)
