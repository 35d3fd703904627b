"""What makes a measurement of an own network the thing it is: hashes of its weights and of its data."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from foundation.files import require_writable_folder
from foundation.provenance import provenance
from landscape.files.checkpoint import Opened
from landscape.files.target import Target
from landscape.subject.called import inner
from landscape.subject.losses import cross_entropy, named
from landscape.subject.nested import tensors
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
    network = inner(subject.network)
    kind = type(network)
    return _sha256(f"{kind.__module__}.{kind.__qualname__}", network.named_parameters())


def subject_config(subject: Subject) -> dict[str, Any]:
    """What else decides the numbers; JSON types.

    Args:
        subject: What is measured.

    Returns:
        Data, BatchNorm statistics and groups among them.
    """
    network, loss = inner(subject.network), subject.loss
    every, chosen = [name for name, _ in network.named_parameters()], list(subject.parameters)
    config = {
        "loss": "evaluation" if loss is cross_entropy else named(loss),
        "params": ["*"] if chosen == every else chosen,
        "batch_norm": subject.batch_norm,
        "dtype": str(subject.dtype).removeprefix("torch."),
        "data": _data_sha256(subject),
        "model": type(network).__qualname__,
        "groups": {**{name: list(members) for name, members in subject.groups.named()}, "rule": subject.groups.rule},
    }
    if subject.batch_norm == "eval":
        config["buffers"] = _sha256("", network.named_buffers())
    return config


def _data_sha256(subject: Subject) -> str:
    """Of the sorted samples in the precision they are measured in."""

    def inputs() -> Iterator[tuple[str, Tensor]]:
        for start in range(0, len(subject.labels), ROWS):
            yield from (("inputs", tensor) for tensor in tensors(subject.inputs(slice(start, start + ROWS))))

    of_loss = [] if subject.by_class else [("targets", subject.targets(slice(0, len(subject.labels))))]
    return _sha256("", itertools.chain([("labels", subject.labels)], of_loss, inputs()))


def _sha256(head: str, tensors: Iterable[tuple[str, Tensor]]) -> str:
    digest = hashlib.sha256(head.encode())
    for name, tensor in tensors:
        values = tensor.detach().cpu()
        exact = values.double() if values.is_floating_point() else values
        digest.update(f"{name}{list(values.shape)}".encode())
        digest.update(exact.contiguous().numpy().tobytes())
    return digest.hexdigest()
