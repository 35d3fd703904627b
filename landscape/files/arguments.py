"""The options that every measuring command shares, and what they open."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from foundation.devices import choose_device
from foundation.errors import InputError
from foundation.files import require_writable_folder
from foundation.provenance import provenance
from landscape.files.builders import build_data, build_network, class_names_of, train_counts_of
from landscape.files.checkpoint import DTYPES, SPLITS, open_checkpoint, weights
from landscape.files.foreign_checkpoint import load_weights
from landscape.files.identity import subject_config, weights_sha256
from landscape.files.landscape_file import read_landscape
from landscape.files.target import Target
from landscape.ranks.start import joined
from landscape.ranks.team import Team
from landscape.subject.subject import Subject
from landscape.subject.subsets import left_out


def checkpoint_path(text: str) -> Path:
    """A checkpoint's file, which a run folder stands for too."""
    return Path(text) / "checkpoint.pt" if Path(text).is_dir() else Path(text)


def result_path(text: str) -> Path:
    """A landscape file, which a run folder stands for too."""
    return Path(text) / "landscape.h5" if Path(text).is_dir() else Path(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that every measuring command shares."""
    what = parser.add_argument_group("what is measured")
    what.add_argument(
        "--ckpt", type=checkpoint_path, metavar="FILE", help="a checkpoint.pt made by training.run, or its run folder"
    )
    add_network_arguments(what)
    what.add_argument("--split", default="train", choices=SPLITS, help="the samples to measure on")
    what.add_argument(
        "--subsets", metavar="A,B", help="by name or label: all,few,class:3,Shirt (default: every class and group)"
    )
    what.add_argument("--params", metavar="A,B", help="globs of parameter names, such as 'layer3.*' (default: all)")
    what.add_argument(
        "--loss", default="evaluation", choices=("evaluation", "trained"), help="plain cross-entropy, or as trained"
    )
    what.add_argument(
        "--batch-norm", default="eval", choices=("eval", "recalibrated"), help="running statistics, or measured afresh"
    )
    what.add_argument("--dtype", default="float32", choices=tuple(DTYPES), help="precision of the network")
    where = parser.add_argument_group("where")
    where.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1")
    where.add_argument("--data-dir", type=Path, metavar="DIR", help="where a data set that is not embedded lies")
    where.add_argument("--out", type=Path, metavar="FILE", help="result file (default: landscape.h5 by the checkpoint)")
    where.add_argument("--name", help="name of this measurement in the file (default: the split)")
    where.add_argument("--overwrite", action="store_true", help="replace a measurement of the same name")
    where.add_argument("--json", action="store_true", help="end with one JSON object on stdout; all else is on stderr")


def add_network_arguments(what: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """Adds what names an own network, its weights and its data."""
    what.add_argument(
        "--network", metavar="SPEC",
        help="or an own network: mine.py:build, package.module:build, torchvision:NAME or timm:NAME",
    )  # fmt: skip
    what.add_argument("--weights", type=Path, metavar="FILE", help="its state dict, also inside a larger checkpoint")
    what.add_argument("--strip", metavar="PREFIX", help="what precedes its names in that file, such as 'model.'")
    what.add_argument("--data", metavar="SPEC", help="its data: mine.py:test_set, npz:FILE or folder:DIR")


def tell_as_json(
    arguments: argparse.Namespace,
    analysis: str,
    measure: Callable[[argparse.Namespace, Team | None], Target | None],
) -> None:
    """Runs a measuring command's work; with `--json` stdout holds what was measured as one object and nothing else.

    Args:
        arguments: Parsed by a parser that `add_arguments` was applied to.
        analysis: Such as `"hessian"`.
        measure: The work, with the ranks that share it; it returns where the measurement is, None where nothing was to
            be measured.
    """
    started = time.monotonic()
    device = choose_device(arguments.device, float64=True)
    with joined(device) as team, _heard(arguments, team):
        target = measure(arguments, team)
    if arguments.json and target is not None and (team is None or team.leads):
        measured = read_landscape(target.file).get(analysis, target.name)
        told = {
            "file": str(target.file),
            "measurement": f"{analysis}/{target.name}",
            "subsets": [] if measured is None else list(measured.subset),
            "seconds": round(time.monotonic() - started, 3),
        }
        print(json.dumps(told, ensure_ascii=False), flush=True)


@contextlib.contextmanager
def _heard(arguments: argparse.Namespace, team: Team | None) -> Iterator[None]:
    """What the block prints goes where it belongs: nowhere from other ranks than the first."""
    if team is not None and not team.leads:
        with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
            yield
    elif arguments.json:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    else:
        yield


def open_arguments(arguments: argparse.Namespace) -> tuple[Subject, Target]:
    """Opens what the shared options name, and says which subsets are left out.

    Args:
        arguments: Parsed by a parser that `add_arguments` was applied to and that has a `--seed`.

    Returns:
        What is measured and where its measurement goes.

    Raises:
        InputError: Any of them is bad.
    """
    require_one_network(arguments)
    beside = arguments.ckpt or arguments.weights
    out: Path = arguments.out or (beside.parent if beside else Path()) / "landscape.h5"
    subject, sha256, config = _own(arguments) if arguments.network else _trained(arguments)
    require_writable_folder(out.parent, "--out")
    name = arguments.split if arguments.name is None else arguments.name
    made = provenance(subject.device, seed=arguments.seed)
    target = Target(out, name, sha256, config, made, arguments.overwrite)
    if said := left_out(subject.absent):
        print(said, flush=True)
    return subject, target


def other_weights(path: Path, arguments: argparse.Namespace, subject: Subject) -> Tensor:
    """The measured parameters of another checkpoint of the network that is measured, (P,).

    Args:
        path: The other checkpoint.
        arguments: Of this command.
        subject: What they opened.

    Returns:
        Its weights in the subject's order, dtype and device.

    Raises:
        InputError: The file is missing, corrupt or unsafe, or holds another network.
    """
    if not arguments.network:
        return weights(path, subject)
    network = build_network(arguments.network)
    load_weights(network, path, arguments.strip)
    named = dict(network.named_parameters())
    flat = torch.cat([named[name].detach().reshape(-1) for name in subject.parameters])
    return flat.to(device=subject.device, dtype=subject.dtype)


def require_one_network(arguments: argparse.Namespace) -> None:
    """Refuses options that name no network, or two, or something of another one.

    Args:
        arguments: Parsed.

    Raises:
        InputError: They do.
    """
    if bool(arguments.ckpt) == bool(arguments.network):
        raise InputError("give --ckpt of a trained run, or --network and --data of an own one: one of the two")
    if arguments.network and not arguments.data:
        raise InputError("--network goes with --data: name the data to measure it on, such as mine.py:test_set")
    for option in ("weights", "strip", "data"):
        if arguments.ckpt and getattr(arguments, option) is not None:
            raise InputError(f"--{option} belongs to --network: a checkpoint of training.run knows its own")
    if arguments.strip is not None and arguments.weights is None:
        raise InputError("--strip is of the names in --weights: give both or neither")
    if arguments.network and (arguments.loss != "evaluation" or arguments.data_dir):
        raise InputError("--loss trained and --data-dir belong to --ckpt: leave them out with --network")


def _own(arguments: argparse.Namespace) -> tuple[Subject, str, dict[str, Any]]:
    """An own network on its data, its hash and its configuration."""
    network, data, known = open_own_network(arguments)
    subject = Subject(
        network,
        data,
        **known,
        subsets=_listed(arguments.subsets, "--subsets"),
        params=_listed(arguments.params, "--params"),
        batch_norm=arguments.batch_norm,
        dtype=DTYPES[arguments.dtype],
        device=choose_device(arguments.device, float64=True),
    )
    return subject, weights_sha256(subject), {"split": arguments.split, **subject_config(subject)}


def open_own_network(arguments: argparse.Namespace) -> tuple[nn.Module, Any, dict[str, Any]]:
    """What `--network`, `--weights` and `--data` name; says what was read.

    Args:
        arguments: Parsed.

    Returns:
        The network, the data, and what a `Subject` takes of what the data say of their classes.

    Raises:
        InputError: Something is not named, cannot be found, built or read, or does not fit.
    """
    for option in ("network", "data"):
        if getattr(arguments, option) is None:
            raise InputError(
                f"--{option} is missing: name it, such as mine.py:{'build' if option == 'network' else 'test_set'}"
            )
    network = build_network(arguments.network)
    if arguments.weights is not None:
        print(load_weights(network, arguments.weights, arguments.strip), flush=True)
    data = build_data(arguments.data, arguments.network)
    return network, data, {"train_counts": train_counts_of(data), "class_names": class_names_of(data)}


def _trained(arguments: argparse.Namespace) -> tuple[Subject, str, dict[str, Any]]:
    """A checkpoint of `training`, its hash and its configuration."""
    opened = open_checkpoint(
        arguments.ckpt,
        split=arguments.split,
        subsets=_listed(arguments.subsets, "--subsets"),
        params=_listed(arguments.params, "--params"),
        loss=arguments.loss,
        batch_norm=arguments.batch_norm,
        dtype=arguments.dtype,
        device=choose_device(arguments.device, float64=True),
        data_dir=arguments.data_dir,
    )
    return opened.subject, opened.sha256, dict(opened.config)


def _listed(text: str | None, option: str) -> list[str] | None:
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise InputError(f"{option} {text!r} names nothing: leave it out for all")
    return parts
