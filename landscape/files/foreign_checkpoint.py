"""Weights in files of others: `--weights`. What a file holds is read, never run."""

from __future__ import annotations

import pickle
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundation.errors import InputError

ENTRIES = ("state_dict", "model_state_dict", "model", "net", "network", "module", "weights", "params")
"""Under which of these names a file keeps its weights beside other things, the first that is there."""
WRAPPERS = ("module.", "_orig_mod.")
"""What DataParallel, DDP and torch.compile put before names."""
SAVE = "torch.save(network.state_dict(), 'weights.pth')"


def load_weights(network: nn.Module, path: Path, strip: str | None = None) -> str:
    """Gives a network the weights and buffers in a file.

    Args:
        network: Changed in place.
        path: A state dict, alone or beside other things, or a `.safetensors` file.
        strip: The prefix of the names that belong to the network; what has another is left out. By default what
            DataParallel, DDP and torch.compile put before names, and one prefix that all names have.

    Returns:
        What was read, in words.

    Raises:
        InputError: The file is missing, holds no weights or would run code, or they do not fit.
    """
    state, entry = read_state(path)
    bare = {bare_name(name): tensor for name, tensor in state.items()}
    if strip is not None:
        prefix = strip if strip.endswith(".") else f"{strip}."
        kept = {name[len(prefix) :]: tensor for name, tensor in bare.items() if name.startswith(prefix)}
        if not kept:
            raise InputError(f"no name in {str(path)!r} begins with --strip {prefix!r}: it has {_some(list(bare))}")
    else:
        kept = _without_prefix(bare, set(network.state_dict()))
    _fit(network, kept, path)
    left = len(state) - len(kept)
    return f"weights of {str(path)!r}{f' [{entry!r}]' if entry else ''}" + (f", {left} left out" if left else "")


def read_state(path: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict in a file, and under which name it lies there.

    Args:
        path: The file.

    Returns:
        Tensors by name, on the CPU; and the entry, empty where the file is nothing else.

    Raises:
        InputError: The file is missing, holds no weights, or would run code.
    """
    if not path.is_file():
        raise InputError(f"weights {str(path)!r} do not exist: name a file of {SAVE}")
    content = _safetensors(path) if path.suffix == ".safetensors" else _load(path)
    entry = ""
    if not _is_state(content):
        if isinstance(content, Mapping):
            entry = next((name for name in ENTRIES if _is_state(content.get(name))), "")
        if not entry:
            held = f"a dictionary of {_some(list(content))}" if isinstance(content, Mapping) else type(content).__name__
            raise InputError(f"{str(path)!r} holds {held} and no state dict: write one with {SAVE}")
        content = content[entry]
    state = dict(content)
    if any(tensor.is_quantized for tensor in state.values()):
        raise InputError(f"{str(path)!r} holds quantized weights, which have no derivatives: give the float network's")
    return state, entry


def bare_name(name: str) -> str:
    """A parameter's name without what wrappers put before it or, by torch.compile, inside."""
    while name.startswith(WRAPPERS):
        name = name.split(".", 1)[1]
    return name.replace("._orig_mod.", ".")


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and bool(content) and all(isinstance(t, Tensor) for t in content.values())


def _load(path: Path) -> Any:
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            names = {name.split("/", 1)[-1] for name in archive.namelist()}
        if any(name.startswith("code/") for name in names):
            raise InputError(
                f"{str(path)!r} is a TorchScript program, which cannot be measured: save {SAVE} of its model"
            )
        if names & {"archive_format", "serialized_exported_program.json"} or any("models/" in name for name in names):
            raise InputError(
                f"{str(path)!r} is a program of torch.export, which cannot be measured: save {SAVE} of its model"
            )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a foreign file torch says more than the one sentence below
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        if isinstance(error, pickle.UnpicklingError) and "nsupported" in str(error):
            unsafe = _unsafe(path)
            raise InputError(
                f"{str(path)!r} is refused: it holds more than tensors and plain types{unsafe} and could run code when "
                f"opened; where you trust it, open it and save {SAVE}"
            ) from None
        raise InputError(f"{str(path)!r} is damaged or no file of weights: write one with {SAVE}") from None


def _unsafe(path: Path) -> str:
    """The classes and functions that a file names and that are not known to be harmless, in brackets."""
    try:
        found = torch.serialization.get_unsafe_globals_in_checkpoint(str(path))
    except Exception:  # files of before 2020, which are no archives
        return ""
    return f" ({_some(sorted(found), 4)})" if found else ""


def _safetensors(path: Path) -> Any:
    try:
        from safetensors import SafetensorError
        from safetensors.torch import load_file
    except ImportError:
        raise InputError(f"{str(path)!r} takes the package safetensors: install it") from None
    try:
        return load_file(str(path))
    except (SafetensorError, OSError, ValueError):
        raise InputError(f"{str(path)!r} is damaged or no safetensors file: write it again") from None


def _without_prefix(state: dict[str, Tensor], wanted: set[str]) -> dict[str, Tensor]:
    """Without one prefix that all names have, such as Lightning's `model.`, where the network has other names."""
    prefix = f"{next(iter(state)).split('.', 1)[0]}."
    shared = all(name.startswith(prefix) for name in state)
    bare = {name[len(prefix) :]: tensor for name, tensor in state.items()}
    return bare if shared and len(wanted & set(bare)) > len(wanted & set(state)) else state


def _fit(network: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    wanted = network.state_dict()
    missing = [n for n in wanted if n not in state and not n.endswith("num_batches_tracked")]
    unknown = [n for n in state if n not in wanted]
    other = [n for n in wanted if n in state and wanted[n].shape != state[n].shape]
    said = [
        f"{len(names)} {word} ({_some(names, 3)})"
        for word, names in (("missing", missing), ("unknown", unknown))
        if names
    ]
    if other:
        name = other[0]
        said.append(f"{name} is {tuple(state[name].shape)} there and {tuple(wanted[name].shape)} in the network")
    if said:
        raise InputError(
            f"the weights in {str(path)!r} do not fit the network: {', '.join(said)}; build the network that they are "
            "of, or name its prefix there with --strip"
        )
    network.load_state_dict(state, strict=False)


def _some(names: list[Any], most: int = 6) -> str:
    listed = [str(name) for name in names]
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
