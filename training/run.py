"""`python -m training.run`: trains one network."""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from tqdm import tqdm

from foundation.command import Parser, run
from foundation.errors import InputError
from training.config import DECAYS, OPTIMIZERS, PRECISIONS, Config
from training.console import listing
from training.data.longtail import IMBALANCE_TYPES
from training.epochs import MakeTracker, show, train
from training.recipe import load_recipe
from training.run_folder import read_config
from training.schedules import SCHEDULES

TRACKER = "landscape.recording.training_run:track"
"""A plug-in by name, loaded where it is asked for."""


class TrainingParser(Parser):
    """The command's arguments; `--recipe`, then `--resume`, set defaults that flags override."""

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parses once to see what sets defaults, then again over them."""
        first = super().parse_args(args, namespace)
        try:
            if "recipe" in first:
                self.set_defaults(**load_recipe(first.recipe))
            if "resume" in first:
                self.set_defaults(**{name: value for name, value in read_config(first.out).items() if name != "out"})
        except InputError as error:
            self.exit(error.exit_code, f"error: {error}\n")
        return super().parse_args(args, namespace)


class ListAction(argparse.Action):
    """Prints what can be named and ends the command, as `--help` does."""

    def __call__(self, parser: argparse.ArgumentParser, *ignored: object, **also_ignored: object) -> None:
        """Prints and exits."""
        try:
            print(listing(), flush=True)
        except BrokenPipeError:  # `… --list | head` closed our output
            sys.stderr.close()
        parser.exit()


def _imbalance(text: str) -> float | None:
    return None if text == "natural" else float(text)


class NameValuePairs(argparse.Action):
    """Collects `name=value …` into a dictionary; a value is JSON where it can be read as such, else text."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        """Reads the values of one option."""
        settings = {}
        for item in values:
            name, equals, value = item.partition("=")
            if not equals:
                raise argparse.ArgumentError(self, f"{item!r} is not name=value")
            settings[name] = json_or_text(value)
        setattr(namespace, self.dest, settings)


def json_or_text(text: str) -> Any:
    """A value of the command line: JSON where it can be read as such, else the text itself."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def build_parser() -> TrainingParser:
    """The arguments, one for each field of `Config`."""
    parser = TrainingParser(
        "training.run",
        "Trains one network on a long-tailed data set and writes its checkpoints.",
        "--data fashion-mini --imbalance 100 --method bgp --model cnn --epochs 30 --seed 0 --out runs/bgp",
    )
    add = parser.add_argument
    unset = argparse.SUPPRESS  # not given: `Config` knows the default
    settings: dict[str, Any] = {
        "action": NameValuePairs,
        "nargs": "+",
        "default": argparse.SUPPRESS,
        "metavar": "NAME=VALUE",
    }
    add("--out", type=Path, required=True, default=unset, help="run folder; an interrupted run in it continues")
    add(
        "--list",
        action=ListAction,
        nargs=0,
        default=unset,
        help="methods, networks, data sets and recipes with their papers",
    )
    add(
        "--recipe",
        default=unset,
        help="a recipe by name, such as cifar100-lt/ldam-drw+bgp, or a YAML file; flags override it",
    )
    add("--resume", action="store_true", default=unset, help="continue the run in --out with its own settings")
    add("--dry-run", action="store_true", default=unset, help="say what would be trained, and for how long; no more")
    add("--data", default=Config.data, help="data set")
    add("--data-dir", type=Path, default=unset, help="folder that holds the data set")
    add("--data-kwargs", **settings, help="options of the data set")
    add("--imbalance", type=_imbalance, default=Config.imbalance, help="largest class over smallest; natural: as it is")
    add("--imbalance-type", default=Config.imbalance_type, choices=IMBALANCE_TYPES, help="shape of the tail")
    add("--data-seed", type=int, default=Config.data_seed, help="which images are kept and held out")
    add("--validation", type=int, default=unset, help="images a class to hold out (default: the data set's habit)")
    add("--model", default=Config.model, help="network")
    add("--model-kwargs", **settings, help="options of the network")
    add("--weights", type=Path, default=unset, help="file with the body's first weights: a checkpoint or a state dict")
    add("--method", default=Config.method, help="loss, penalty and optimizer, such as balanced-softmax+bgp")
    add("--method-kwargs", **settings, help="options of the method")
    add("--epochs", type=int, default=Config.epochs, help="passes over the training images")
    add("--batch-size", type=int, default=Config.batch_size, help="images a step")
    own = "(default: what suits the network)"
    add("--optimizer", default=unset, choices=OPTIMIZERS, help=f"sgd with momentum or adamw {own}")
    add("--lr", type=float, default=unset, help=f"base learning rate {own}")
    add("--weight-decay", type=float, default=unset, help=f"pull toward zero, on what --decay says {own}")
    add("--decay", default=unset, choices=DECAYS, help=f"all parameters, or weights: no norms or biases {own}")
    add("--clip", type=float, default=unset, help=f"largest norm of a step's gradient, 0 for any {own}")
    add("--warmup", type=float, default=unset, help=f"epochs of linear warm-up {own}")
    add("--momentum", type=float, default=Config.momentum, help="of SGD")
    add("--nesterov", action=argparse.BooleanOptionalAction, default=Config.nesterov, help="SGD looks ahead")
    add("--head-lr", type=float, default=Config.head_lr, help="the classifier's share of the learning rate")
    add("--schedule", default=Config.schedule, choices=SCHEDULES, help="learning rate over time")
    add("--seed", type=int, default=Config.seed, help="initial weights, order, augmentation")
    add("--device", default=Config.device, help="auto, cpu, cuda, mps")
    add("--precision", default=Config.precision, choices=PRECISIONS, help="tf32 and bfloat16 are for speed on a GPU")
    add("--channels-last", action=argparse.BooleanOptionalAction, default=Config.channels_last, help="NHWC layout")
    add("--compile", action=argparse.BooleanOptionalAction, default=Config.compile, help="torch.compile the network")
    add("--augment", default=unset, help="augmentation (default: the data set's habit)")
    add("--accumulate", type=int, default=Config.accumulate, help="parts of a batch, to fit the memory")
    add("--ema", type=float, default=Config.ema, help="decay of averaged weights, 0 for none")
    add("--workers", type=int, default=Config.workers, help="processes that read image files")
    add("--evaluate-every", type=int, default=Config.evaluate_every, help="epochs between test evaluations")
    add("--snapshots", type=int, default=Config.snapshots, help="checkpoints along the way")
    add(
        "--track", nargs="?", const=TRACKER, default=unset, metavar="MODULE:NAME",
        help="measure along the way, into track.h5 of the run folder, for a tenth of the time at most",
    )  # fmt: skip
    return parser


def _main(arguments: argparse.Namespace) -> None:
    settings = {name: value for name, value in vars(arguments).items() if name in Config.__dataclass_fields__}
    if "dry_run" in arguments:
        show(Config(**settings), say=say)
    else:
        train(Config(**settings), say=say, track=_tracker(arguments.track) if "track" in arguments else None)


def _tracker(spec: str) -> MakeTracker:
    """What `--track` names: a plug-in, for training knows nobody who measures."""
    module, _, name = spec.partition(":")
    try:
        made: MakeTracker = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(f"--track {spec!r} cannot be loaded ({error}): give MODULE:NAME of what tracks") from None
    return made


def say(line: str) -> None:
    """Prints a line to stdout, above a progress bar if there is one on the terminal."""
    tqdm.write(line)
    sys.stdout.flush()


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command.

    Args:
        argv: Arguments instead of the process's own.
    """
    run(_main, build_parser(), argv)


if __name__ == "__main__":
    main()
