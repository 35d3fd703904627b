"""What makes a measurement of an own network the thing it is: hashes of its weights and of its data."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import Tensor

from foundation.files import require_writable_folder
from foundation.provenance import provenance
from landscape.files.checkpoint import Opened
from landscape.files.target import Target
from landscape.subject.losses import cross_entropy
from landscape.subject.subject import Subject

ROWS = 500  # samples hashed at a time: data that lie in files are not all in memory


def target_of(
    measured: Subject | Opened, file: Path, name: str | None = None, *, seed: int = 0, overwrite: bool = False
) -> Target:
    """Where a measurement goes and what identifies it.

    Two measurements of the same weights share a file, whatever they are measured on; the data, the BatchNorm
    statistics and the loss belong to the configuration, which a measurement of the same name must share.

    Args:
        measured: A subject, or an opened checkpoint.
        file: The `landscape.h5`.
        name: Of the measurement; by default the checkpoint's split, `"train"` of a subject.
        seed: Of the measurement, for the record.
        overwrite: Replace a measurement of the same name and another configuration.

    Returns:
        The target.

    Raises:
        InputError: The name cannot name a measurement, or the folder cannot be written.
    """
    file = Path(file)
    if isinstance(measured, Opened):
        subject, sha256, config = measured.subject, measured.sha256, measured.config
        name = name or str(config["split"])
    else:
        subject, name = measured, name or "train"
        sha256, config = weights_sha256(subject), {"split": name, **subject_config(subject)}
    target = Target(file, name, sha256, config, provenance(subject.device, seed=seed), overwrite)
    require_writable_folder(file.parent, "the folder")
    return target


def weights_sha256(subject: Subject) -> str:
    """A hash of the network's class and of all its parameters, the same in every precision it is measured in."""
    kind = type(subject.network)
    return _sha256(f"{kind.__module__}.{kind.__qualname__}", subject.network.named_parameters())


def subject_config(subject: Subject) -> dict[str, Any]:
    """What else decides the numbers; JSON types.

    Args:
        subject: What is measured.

    Returns:
        Data, BatchNorm statistics and groups among them.
    """
    every = [name for name, _ in subject.network.named_parameters()]
    chosen = list(subject.parameters)
    loss, kind = subject.loss, type(subject.network)
    config = {
        "loss": "evaluation" if loss is cross_entropy else getattr(loss, "__qualname__", type(loss).__qualname__),
        "params": ["*"] if chosen == every else chosen,
        "batch_norm": subject.batch_norm,
        "dtype": str(subject.dtype).removeprefix("torch."),
        "data": _data_sha256(subject),
        "model": kind.__qualname__,
        "groups": {**{name: list(members) for name, members in subject.groups.named()}, "rule": subject.groups.rule},
    }
    if subject.batch_norm == "eval":
        config["buffers"] = _sha256("", subject.network.named_buffers())
    return config


def _data_sha256(subject: Subject) -> str:
    """Of the class-sorted samples in the precision they are measured in."""
    starts = range(0, len(subject.labels), ROWS)
    inputs = (("inputs", subject.inputs(slice(start, start + ROWS))) for start in starts)
    return _sha256("", [("labels", subject.labels), *inputs])


def _sha256(head: str, tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256(head.encode())
    for name, tensor in tensors:
        values = tensor.detach().cpu()
        exact = values.double() if values.is_floating_point() else values
        digest.update(f"{name}{list(values.shape)}".encode())
        digest.update(exact.contiguous().numpy().tobytes())
    return digest.hexdigest()
