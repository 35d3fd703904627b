"""Checkpoints: one file of tensors and plain types that cannot run code when it is read."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundation.errors import InputError
from foundation.files import replacing

FORMAT = "landscape-checkpoint"
VERSION = 1


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and all that is needed to rebuild it and its data. The fields are the file's keys.

    Attributes:
        model: `{"name", "kwargs"}` for `training.models.build_model`.
        data: The record for `training.data.open_split`.
        method: `{"name", "kwargs", "note"}`.
        state_dict: The weights and buffers, on the CPU.
        epoch: How many epochs were trained.
        metrics: The last line of `metrics.jsonl` at that epoch.
        config: The resolved configuration of the run.
        provenance: Versions, device, command, times.
    """

    model: dict[str, Any]
    data: dict[str, Any]
    method: dict[str, Any]
    state_dict: dict[str, Tensor] = field(repr=False)
    epoch: int
    metrics: dict[str, Any] = field(repr=False)
    config: dict[str, Any] = field(repr=False)
    provenance: dict[str, Any] = field(repr=False)


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Writes a checkpoint in one step: the file is whole or the old one stays.

    Args:
        path: The file to write.
        checkpoint: What to write.
    """
    # Not `asdict`: it would copy every tensor.
    content = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    save_tensors(path, {"format": FORMAT, "version": VERSION, **content})


def load_checkpoint(path: Path) -> Checkpoint:
    """Reads a checkpoint without running any code that a file might hold.

    Args:
        path: The file.

    Returns:
        The checkpoint, its tensors on the CPU.

    Raises:
        InputError: The file is missing, corrupt, of another kind or version, or would run code.
    """
    content = load_tensors(path, "checkpoint")
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InputError(f"{path} is no checkpoint of training.run: name the checkpoint.pt or best.pt of a run")
    if content.get("version") != VERSION:
        raise InputError(
            f"{path} has checkpoint version {content.get('version')}, this package reads {VERSION}: "
            "use the package version that wrote it"
        )
    missing = [name for name in Checkpoint.__dataclass_fields__ if name not in content]
    if missing:
        raise InputError(f"{path} lacks {', '.join(missing)}: train it again")
    return Checkpoint(**{name: content[name] for name in Checkpoint.__dataclass_fields__})


def load_body(network: nn.Module, path: Path) -> None:
    """Gives a network's body the weights in a file; the classifier stays as it is.

    Args:
        network: With a `body`, changed in place.
        path: A checkpoint, or a state dict of the whole network or of the body alone.

    Raises:
        InputError: The file is missing, corrupt, or holds another body.
    """
    content = load_tensors(path, "weights")
    state = content.get("state_dict", content) if isinstance(content, dict) else {}
    if not all(isinstance(tensor, Tensor) for tensor in state.values()) or not state:
        raise InputError(
            f"weights {str(path)!r} hold no state dict: give a checkpoint or a file of torch.save(state_dict)"
        )
    body = {name.removeprefix("body."): tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    try:
        network.body.load_state_dict(body)  # type: ignore[union-attr]
    except RuntimeError as error:
        raise InputError(
            f"weights {str(path)!r} are of another network ({str(error).splitlines()[1].strip()}): "
            "name that one by --model"
        ) from None


def save_tensors(path: Path, content: dict[str, Any]) -> None:
    """Writes tensors and plain types to `path` in one step."""
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_tensors(path: Path, kind: str) -> Any:
    """Reads what `save_tensors` wrote, and nothing that would run code.

    Args:
        path: The file.
        kind: What it is, for the sentence.

    Returns:
        The content, tensors on the CPU.

    Raises:
        InputError: The file is missing, corrupt, or holds more than tensors and plain types.
    """
    if not path.is_file():
        raise InputError(f"{kind} {str(path)!r} does not exist: name a file that training.run wrote")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign file torch says more than the one sentence below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        if isinstance(error, pickle.UnpicklingError) and "Unsupported global" in str(error):
            raise InputError(
                f"{kind} {str(path)!r} is refused: it holds more than tensors and plain types and could run code "
                "when opened; only open files that training.run wrote"
            ) from None
        raise InputError(f"{kind} {str(path)!r} is corrupt or no such file: copy it again or train it again") from None
