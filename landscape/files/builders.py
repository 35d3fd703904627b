"""What `--network` and `--data` name: code that the user points at, run because it was named.

`mine.py:build`, `package.module:build`, `torchvision:resnet18`, `timm:vit_tiny_patch16_224`, each also with keyword
arguments as literals: `mine.py:build(width=4)`.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from foundation.errors import InputError


def build_network(spec: str) -> nn.Module:
    """The network that a specification names.

    Args:
        spec: `FILE.py:NAME`, `MODULE:NAME`, `torchvision:NAME` or `timm:NAME`; the name of a module, or of what makes
            one when called, with keyword arguments if it takes some.

    Returns:
        The network.

    Raises:
        InputError: It cannot be found or made, or is no `torch.nn.Module`.
    """
    source, name, options = _parsed(spec, "--network")
    if source in {"torchvision", "timm"}:
        zoo = _imported("torchvision.models" if source == "torchvision" else source, "--network")
        make = zoo.get_model if source == "torchvision" else zoo.create_model
        found = _called(lambda: make(name, **options), spec, "--network")
    else:
        found = _named(source, name, "--network")
        if not isinstance(found, nn.Module):
            found = _called(lambda: found(**options), spec, "--network")
    if not isinstance(found, nn.Module):
        raise InputError(f"--network {spec!r} is a {type(found).__name__}: name a torch.nn.Module or what makes one")
    return found


def build_data(spec: str, network: str) -> Any:
    """The data that a specification names.

    Args:
        spec: `FILE.py:NAME` or `MODULE:NAME` of data or of a function that makes them; `npz:FILE` with arrays `inputs`
            and `labels`; `folder:DIR` with a folder of images for each class.
        network: What `--network` named: its library says how it takes images.

    Returns:
        Data in a form that a `Subject` takes.

    Raises:
        InputError: They cannot be found or made.
    """
    source, _, place = spec.partition(":")
    if source == "npz":
        return _arrays(Path(place))
    if source == "folder":
        return _image_folder(Path(place), network)
    source, name, options = _parsed(spec, "--data")
    found = _named(source, name, "--data")
    data = hasattr(found, "__getitem__") or hasattr(found, "__iter__") or not callable(found)
    return found if data and not isinstance(found, type) else _called(lambda: found(**options), spec, "--data")


def _parsed(spec: str, option: str) -> tuple[str, str, dict[str, Any]]:
    source, colon, call = spec.partition(":") if not spec.startswith("(") else ("", "", "")
    try:
        tree = ast.parse(call.strip(), mode="eval").body
        options: dict[str, Any] = {}
        if isinstance(tree, ast.Call) and not tree.args:
            options = {str(word.arg): ast.literal_eval(word.value) for word in tree.keywords}
            tree = tree.func
        name = ast.unparse(tree) if isinstance(tree, ast.Name | ast.Attribute) else ""
    except (SyntaxError, ValueError):
        name = call if colon and call.replace(".", "").replace("_", "").replace("-", "").isalnum() else ""
        options = {}
    if not source or not name:
        raise InputError(f"{option} {spec!r} names nothing: give FILE.py:NAME or MODULE:NAME, or NAME(option=value)")
    return source, name, options


def _named(source: str, name: str, option: str) -> Any:
    """An attribute of a file or module."""
    module = _from_file(Path(source), option) if source.endswith(".py") else _imported(source, option)
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            raise InputError(f"{option}: {source} has no {name!r}: name something that is defined there")
        found = getattr(found, part)
    return found


def _from_file(path: Path, option: str) -> Any:
    if not path.is_file():
        raise InputError(f"{option}: there is no file {str(path)!r}: name the one that defines it")
    place = path.resolve()
    known = sys.modules.get(place.stem)
    if known is not None and getattr(known, "__file__", None) == str(place):
        return known
    spec = importlib.util.spec_from_file_location(place.stem, place)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    if str(place.parent) not in sys.path:
        sys.path.insert(0, str(place.parent))  # for what the file itself imports
    if known is None:
        sys.modules[place.stem] = module  # data classes and pickles look their module up
    loader = spec.loader
    _called(lambda: loader.exec_module(module), str(path), option)
    return module


def _imported(name: str, option: str) -> Any:
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))  # as `python -m` has it
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        found = None
    if found is None:
        raise InputError(f"{option}: there is no module {name!r}: install it, or run where it lies")
    return _called(lambda: importlib.import_module(name), name, option)


def _called(make: Callable[[], Any], what: str, option: str) -> Any:
    """What a user's code gives, or one sentence on where it failed."""
    try:
        return make()
    except InputError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        line = (str(error).splitlines() or [""])[0]
        raise InputError(
            f"{option} {what!r} failed with {type(error).__name__}: {line} ({Path(frame.filename).name}, line "
            f"{frame.lineno}): run it alone first"
        ) from error


def _arrays(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"--data: there is no file {str(path)!r}: name an .npz with arrays inputs and labels")
    try:
        with np.load(path, allow_pickle=False) as file:
            held = {name: file[name] for name in file.files}
    except (ValueError, OSError, EOFError, KeyError) as error:
        raise InputError(f"--data {str(path)!r} cannot be read ({error}): write it with numpy.savez") from None
    if not {"inputs", "labels"} <= set(held):
        raise InputError(f"--data {str(path)!r} holds {', '.join(held)}: name its arrays inputs and labels")
    return held["inputs"], held["labels"]


def _image_folder(path: Path, network: str) -> Any:
    """Images by class folder, transformed as the network's library does for evaluation."""
    from torchvision import datasets, transforms

    if not path.is_dir():
        raise InputError(f"--data: there is no folder {str(path)!r}: name one with a folder of images a class")
    source, name, _ = _parsed(network, "--network")
    transform: Any = transforms.ToTensor()
    if source == "torchvision":
        weights = _imported("torchvision.models", "--network").get_model_weights(name)
        transform = next(iter(weights)).transforms() if len(weights) else transform
    elif source == "timm":
        timm = _imported("timm", "--network")
        from timm.data import create_transform, resolve_data_config

        transform = create_transform(**resolve_data_config({}, model=timm.create_model(name)))
    try:
        return datasets.ImageFolder(str(path), transform)
    except (FileNotFoundError, OSError) as error:
        raise InputError(
            f"--data {str(path)!r}: {str(error).splitlines()[0]}: name a folder of class folders"
        ) from None


def class_names_of(data: Any) -> list[str] | None:
    """Names of the classes, where a data set says them."""
    names = getattr(data, "classes", None)
    return [str(name) for name in names] if isinstance(names, list | tuple) else None


def train_counts_of(data: Any) -> list[int] | None:
    """Training samples of each class, where a data set says them (`train_counts`)."""
    counts = getattr(data, "train_counts", None)
    return None if counts is None else [int(n) for n in torch.as_tensor(counts).tolist()]
