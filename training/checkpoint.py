"""Checkpoints: one file of tensors and plain types that cannot run code when it is read."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from foundation.declared import Count, Declared, Finite, Open, Sha256, Text, validated
from foundation.errors import InputError
from foundation.files import replacing
from foundation.metrics_line import MetricsLine

FORMAT = "landscape-checkpoint"
VERSION = 1
WAY_OUT = "copy it again or train it again"


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


class Named(Open):
    """A network or a method and its options, as its registry takes them."""

    name: Text
    kwargs: dict[Text, Any]


class Normalization(Declared):
    """Per channel, of pixels in [0, 1]."""

    mean: list[Finite]
    std: list[Annotated[Finite, Field(gt=0)]]


class DataRecord(Open):
    """What finds the same images again."""

    name: Text
    kwargs: dict[Text, Any]
    data_dir: Text | None
    imbalance: Annotated[Finite, Field(ge=1)] | None
    imbalance_type: Literal["exp", "step"]
    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    validation: Count
    sizes: dict[Text, Count]
    class_names: Annotated[list[Text], Field(min_length=1)]
    class_counts: Annotated[list[Count], Field(min_length=1)]
    normalisation: Normalization
    sha256: dict[Literal["train", "validation", "test"], Sha256]


class RunSettings(Open):
    """What measuring the loss that was trained needs to know of the run."""

    batch_size: Annotated[int, Field(ge=1)]
    accumulate: Annotated[int, Field(ge=1)] = 1


class Content(Open):
    """A checkpoint file; what a later version of the package adds is not looked at."""

    format: Text
    version: int
    model: Named
    data: DataRecord
    method: Named
    state_dict: dict[Text, Tensor]
    epoch: Count
    metrics: MetricsLine
    config: RunSettings
    provenance: dict[Text, Any]


def save_checkpoint(path: Path, checkpoint: Checkpoint, *, sync_folder: bool = True) -> None:
    """Writes a checkpoint in one step: the file is whole or the old one stays.

    Args:
        path: The file to write.
        checkpoint: What to write.
        sync_folder: See `foundation.files.replacing`.
    """
    # Not `asdict`: it would copy every tensor.
    content = {name: getattr(checkpoint, name) for name in Checkpoint.__dataclass_fields__}
    save_tensors(path, {"format": FORMAT, "version": VERSION, **content}, sync_folder=sync_folder)


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
    validated(Content, content, repr(str(path)), WAY_OUT)
    check_tensors(content["state_dict"], repr(str(path)))
    data = content["data"]
    if len(data["class_names"]) != len(data["class_counts"]):
        raise InputError(
            f"{str(path)!r} has {len(data['class_names'])} class_names and {len(data['class_counts'])} class_counts: "
            f"{WAY_OUT}"
        )
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
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()) or not state:
        raise InputError(
            f"weights {str(path)!r} hold no state dict: give a checkpoint or a file of torch.save(state_dict)"
        )
    check_tensors(state, repr(str(path)))
    body = {name.removeprefix("body."): tensor for name, tensor in state.items() if not name.startswith("classifier.")}
    try:
        network.body.load_state_dict(body)  # type: ignore[union-attr]
    except RuntimeError as error:
        raise InputError(
            f"weights {str(path)!r} are of another network ({str(error).splitlines()[1].strip()}): "
            "name that one by --model"
        ) from None


def save_tensors(path: Path, content: dict[str, Any], *, sync_folder: bool = True) -> None:
    """Writes tensors and plain types to `path` in one step, see `foundation.files.replacing`."""
    with replacing(path, sync_folder=sync_folder) as temporary:
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
    try:
        there = path.is_file()
    except OSError:  # such as a name that is too long
        there = False
    if not there:
        raise InputError(f"{kind} {str(path)[:200]!r} does not exist: name a file that training.run wrote")
    _check_archive(path, kind)
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


def check_tensors(state: Mapping[str, Tensor], place: str) -> None:
    """Refuses tensors that are no plain arrays of real numbers with all their bytes.

    Args:
        state: Tensors by name.
        place: The file, for the sentence.

    Raises:
        InputError: One is sparse, complex, quantized, on no device, or larger than what is stored of it.
    """
    for name, tensor in state.items():
        said = f"{place} has {name!r} as"
        if tensor.layout != torch.strided or tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_complex():
            kind = f"{tensor.layout}, {tensor.dtype}, {tensor.device}".replace("torch.", "")
            raise InputError(f"{said} {kind}, expected is a dense tensor of real numbers: {WAY_OUT}")
        if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
            raise InputError(f"{said} {tensor.numel()} numbers of which fewer are stored: {WAY_OUT}")


def _check_archive(path: Path, kind: str) -> None:
    """Reads the checksums of a torch file, which torch itself does not: a flipped bit would be another weight."""
    try:
        if not zipfile.is_zipfile(path):
            return  # of a version of torch before these archives, or no such file
        with zipfile.ZipFile(path) as archive:
            listed = archive.infolist()
            if any(item.compress_type for item in listed) or sum(i.file_size for i in listed) > path.stat().st_size:
                raise InputError(f"{kind} {str(path)!r} is packed otherwise than torch does: {WAY_OUT}")
            damaged = archive.testzip()
    except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OverflowError):
        damaged = "its list of parts"
    if damaged is not None:
        raise InputError(f"{kind} {str(path)!r} is damaged in {damaged[:80]!r}: {WAY_OUT}")
