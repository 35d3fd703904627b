"""`python -m analyses.search`: compares settings by the validation split, never by the test split.

Every combination of the values is trained with every seed (of the weights and of the chosen images alike) in a run
folder of its own, so an interrupted search continues. The table shows the means over seeds after the last epoch.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from foundation.command import Parser, run
from foundation.errors import InputError
from foundation.files import write_text
from foundation.progress import Progress
from training.config import Config
from training.epochs import train
from training.run import json_or_text

GROUPS = ("balanced", "many", "medium", "few")


@dataclass(frozen=True)
class Candidate:
    """One combination of settings and how it did.

    Attributes:
        settings: Values by name; `method.weight` is a setting of the method.
        accuracy: Validation accuracy after the last epoch by group (0 to 1), the mean over seeds.
        spread: Standard deviation over seeds of the balanced accuracy; 0 with one seed.
    """

    settings: dict[str, Any]
    accuracy: dict[str, float]
    spread: float


def search(config: Config, values: dict[str, Sequence[Any]], *, seeds: int) -> tuple[Candidate, ...]:
    """Trains every combination with every seed.

    Args:
        config: What all of them share; `out` holds their folders.
        values: The values to try of each setting: a field of `Config`, or `method.NAME`.
        seeds: How many seeds, from 0.

    Returns:
        The candidates, the best balanced validation accuracy first.

    Raises:
        InputError: A setting is unknown or nothing is held out to choose by.
    """
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    candidates = []
    with Progress("searching", len(combinations) * seeds, "run") as progress:
        for settings in combinations:
            scores = []
            for seed in range(seeds):
                result = train(_configured(config, settings, seed))
                if "validation" not in result.rows[-1]:
                    raise InputError("nothing is held out to choose by: give --validation 1 or more")
                scores.append(result.rows[-1]["validation"]["accuracy"])
                progress.advance(note=f"{_name(settings)}: {100 * scores[-1]['balanced']:.1f} %")
            balanced = [score["balanced"] for score in scores]
            means = {group: statistics.fmean(s[group] for s in scores) for group in GROUPS if group in scores[0]}
            candidates.append(Candidate(settings, means, statistics.stdev(balanced) if seeds > 1 else 0.0))
    return tuple(sorted(candidates, key=lambda candidate: -candidate.accuracy["balanced"]))


def table(candidates: Sequence[Candidate]) -> str:
    """The candidates as a Markdown table, accuracies in percent."""
    groups = list(candidates[0].accuracy)
    lines = [f"| settings | {' | '.join(groups)} |", "|---" * (len(groups) + 1) + "|"]
    for candidate in candidates:
        shown = [f"{100 * candidate.accuracy[group]:.1f}" for group in groups]
        shown[0] += f" ± {100 * candidate.spread:.1f}"
        lines.append(f"| {_name(candidate.settings)} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _configured(config: Config, settings: dict[str, Any], seed: int) -> Config:
    fields = {name: value for name, value in settings.items() if not name.startswith("method.")}
    unknown = [name for name in fields if name not in Config.__dataclass_fields__]
    if unknown:
        raise InputError(f"unknown setting {unknown[0]!r}: give a field of the configuration, such as weight_decay")
    method = {name.removeprefix("method."): value for name, value in settings.items() if name.startswith("method.")}
    out = config.out / _name(settings).replace("/", "_").replace(" ", "") / f"seed-{seed}"
    kwargs = {**config.method_kwargs, **method}
    return replace(config, **{**fields, "method_kwargs": kwargs, "seed": seed, "data_seed": seed, "out": out})


def _name(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _values(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value,value,…")
    return name, [json_or_text(value) for value in values.split(",")]


def _main(arguments: argparse.Namespace) -> None:
    base = Config(
        out=arguments.out,
        data=arguments.data,
        model=arguments.model,
        method=arguments.method,
        epochs=arguments.epochs,
        evaluate_every=arguments.epochs,
        snapshots=0,
    )
    result = table(search(base, dict(arguments.vary), seeds=arguments.seeds))
    write_text(arguments.out / "table.md", result)
    print(result, end="")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command.

    Args:
        argv: Arguments instead of the process's own.
    """
    parser = Parser(
        "analyses.search",
        "Compares settings by accuracy on the validation split.",
        "--method bgp --vary method.weight=0.5,1,2,4 --vary weight_decay=5e-4,2e-3 --seeds 3 --out runs/search/bgp",
    )
    parser.add_argument("--vary", type=_values, action="append", required=True, metavar="NAME=VALUE,…", help="to try")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each combination")
    parser.add_argument("--data", default=Config.data, help="data set")
    parser.add_argument("--model", default=Config.model, help="network")
    parser.add_argument("--method", default=Config.method, help="method")
    parser.add_argument("--epochs", type=int, default=Config.epochs, help="epochs of each run")
    parser.add_argument("--out", type=Path, required=True, help="folder of the runs and of table.md")
    run(_main, parser, argv)


if __name__ == "__main__":
    main()
