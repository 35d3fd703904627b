"""The options that every measuring command shares, and what they open."""

from __future__ import annotations

import argparse
from pathlib import Path

from foundation.devices import choose_device
from foundation.files import require_writable_folder
from foundation.provenance import provenance
from landscape.files.checkpoint import DTYPES, SPLITS, Opened, open_checkpoint
from landscape.files.target import Target
from landscape.subject.subsets import left_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the options that every measuring command shares."""
    what = parser.add_argument_group("what is measured")
    what.add_argument("--ckpt", type=Path, required=True, metavar="FILE", help="a checkpoint.pt made by training.run")
    what.add_argument("--split", default="train", choices=SPLITS, help="the samples to measure on")
    what.add_argument("--subsets", metavar="A,B", help="such as all,few,class:3 (default: every class and group)")
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


def open_arguments(arguments: argparse.Namespace) -> tuple[Opened, Target]:
    """Opens what the shared options name, and says which subsets are left out.

    Args:
        arguments: Parsed by a parser that `add_arguments` was applied to and that has a `--seed`.

    Returns:
        The opened checkpoint and where its measurement goes.

    Raises:
        InputError: Any of them is bad.
    """
    out: Path = arguments.out or arguments.ckpt.parent / "landscape.h5"
    opened = open_checkpoint(
        arguments.ckpt,
        split=arguments.split,
        subsets=_listed(arguments.subsets),
        params=_listed(arguments.params),
        loss=arguments.loss,
        batch_norm=arguments.batch_norm,
        dtype=arguments.dtype,
        device=choose_device(arguments.device, float64=True),
        data_dir=arguments.data_dir,
    )
    require_writable_folder(out.parent, "--out")
    name = arguments.split if arguments.name is None else arguments.name
    made = provenance(opened.subject.device, seed=arguments.seed)
    target = Target(out, name, opened.sha256, opened.config, made, arguments.overwrite)
    if said := left_out(opened.subject.absent):
        print(said, flush=True)
    return opened, target


def _listed(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None
