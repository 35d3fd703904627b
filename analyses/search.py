"""`python -m analyses.search`: compares settings by the validation split, never by the test split.

Every combination of the values is trained with every seed (of the weights and of the chosen images alike) in a run
folder of its own, so an interrupted search continues. With `--halving` only the better half goes on to the next seed.
Values that only matter after training (τ of tau-norm and of post-hoc-la) share one training. The table shows the means
over seeds after the last epoch.
"""

from __future__ import annotations

import argparse
import itertools
import multiprocessing
import os
import statistics
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

import torch

from foundation.command import Parser, run
from foundation.devices import choose_device
from foundation.errors import InputError
from foundation.files import write_text
from foundation.progress import Progress
from training.batches.loaders import open_loaders
from training.checkpoint import load_checkpoint
from training.config import Config
from training.data import open_split
from training.epochs import Run, train
from training.evaluate import evaluate
from training.methods import decoupling
from training.methods.method import build_method
from training.models import build_model
from training.recipe import load_recipe
from training.run import json_or_text

GROUPS = ("balanced", "many", "medium", "few")
POST_HOC = ("tau-norm", "post-hoc-la")  # parts whose only setting, tau, is used after the last step


@dataclass(frozen=True)
class Candidate:
    """One combination of settings and how it did.

    Attributes:
        settings: Values by name; `method.weight` is a setting of the method.
        accuracy: Validation accuracy after the last epoch by group (0 to 1), the mean over seeds.
        spread: Standard deviation over seeds of the balanced accuracy; 0 with one seed.
        seeds: How many seeds it was trained with.
    """

    settings: dict[str, Any]
    accuracy: dict[str, float]
    spread: float
    seeds: int = 1


@dataclass(frozen=True)
class Plan:
    """One combination with one seed.

    Attributes:
        training: What is trained.
        stage: A part of `POST_HOC` that is applied to the trained network, or None.
        tau: Its setting.
    """

    training: Config
    stage: str | None = None
    tau: float = 1.0


def search(
    config: Config, values: dict[str, Sequence[Any]], *, seeds: int, jobs: int = 1, halving: bool = False
) -> tuple[Candidate, ...]:
    """Trains combinations and ranks them.

    Args:
        config: What all of them share; `out` holds their folders.
        values: The values to try of each setting: a field of `Config`, or `method.NAME`.
        seeds: How many seeds, from 0.
        jobs: How many runs at a time, each in a process of its own if more than one.
        halving: Let only the better half of the combinations go on to the next seed.

    Returns:
        The candidates: those of more seeds first, among them the best balanced validation accuracy first.

    Raises:
        InputError: A setting is unknown or nothing is held out to choose by.
    """
    combinations = [dict(zip(values, chosen, strict=True)) for chosen in itertools.product(*values.values())]
    for settings in combinations:
        _plan(config, settings, 0)  # every one is looked at before the first is trained
    scores: list[list[dict[str, Any]]] = [[] for _ in combinations]
    alive = list(range(len(combinations)))
    for seed in range(seeds):
        plans = [_plan(config, combinations[index], seed) for index in alive]
        for index, score in zip(alive, _accuracies(plans, jobs), strict=True):
            scores[index].append(score)
        if halving and seed + 1 < seeds:
            alive = sorted(alive, key=lambda index: -_mean(scores[index], "balanced"))[: -(-len(alive) // 2)]
    candidates = []
    for settings, found in zip(combinations, scores, strict=True):
        means = {group: _mean(found, group) for group in GROUPS if group in found[0]}
        spread = statistics.stdev(score["balanced"] for score in found) if len(found) > 1 else 0.0
        candidates.append(Candidate(settings, means, spread, len(found)))
    return tuple(sorted(candidates, key=lambda one: (-one.seeds, -one.accuracy["balanced"])))


def table(candidates: Sequence[Candidate]) -> str:
    """The candidates as a Markdown table, accuracies in percent."""
    groups = list(candidates[0].accuracy)
    lines = [f"| settings | seeds | {' | '.join(groups)} |", "|---" * (len(groups) + 2) + "|"]
    for candidate in candidates:
        shown = [f"{100 * candidate.accuracy[group]:.1f}" for group in groups]
        shown[0] += f" ± {100 * candidate.spread:.1f}"
        lines.append(f"| {_name(candidate.settings)} | {candidate.seeds} | {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def split_values(text: str) -> list[Any]:
    """Values of the command line, separated by commas outside of brackets: `0.1,[[0, 0.05], [0.5, 0.1]]` are two."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[{") - (character in "]}")
        if character == "," and not depth:
            parts.append("")
        else:
            parts[-1] += character
    return [json_or_text(part) for part in parts]


def _mean(scores: Sequence[dict[str, Any]], group: str) -> float:
    return statistics.fmean(score[group] for score in scores)


def _plan(config: Config, settings: dict[str, Any], seed: int) -> Plan:
    fields = {name: value for name, value in settings.items() if not name.startswith("method.")}
    unknown = [name for name in fields if name not in Config.__dataclass_fields__]
    if unknown:
        raise InputError(f"unknown setting {unknown[0]!r}: give a field of the configuration, such as weight_decay")
    varied = {name.removeprefix("method."): value for name, value in settings.items() if name.startswith("method.")}
    kwargs = {**config.method_kwargs, **varied}
    whole = replace(config, **{**fields, "method_kwargs": kwargs, "seed": seed, "data_seed": seed})
    build_method(whole.method, (3, 2, 1), **kwargs)
    parts = whole.method.split("+")
    stage = next((part for part in parts if part in POST_HOC), None)
    tau = next((name for name in kwargs if name in ("tau", f"{stage}.tau")), None)
    if stage is None or tau is None or tau not in varied:
        return Plan(replace(whole, out=_folder(config, settings, seed)))
    shared = {name: value for name, value in settings.items() if name != f"method.{tau}"}
    rest = "+".join(part for part in parts if part != stage) or "ce"
    trained_with = {name: value for name, value in kwargs.items() if name != tau}
    out = _folder(config, {"method": rest, **shared}, seed)
    return Plan(replace(whole, method=rest, method_kwargs=trained_with, out=out), stage, float(kwargs[tau]))


def _folder(config: Config, settings: dict[str, Any], seed: int) -> Path:
    return config.out / _name(settings).replace("/", "_").replace(" ", "") / f"seed-{seed}"


def _name(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items())


def _accuracies(plans: Sequence[Plan], jobs: int) -> list[dict[str, Any]]:
    """Validation accuracies of plans, in their order; plans that share a training share it."""
    trainings = {plan.training.out: plan.training for plan in plans}
    runs: dict[Path, Run] = {}
    with Progress("searching", len(trainings), "run") as progress:
        for result in _trained(list(trainings.values()), jobs):
            if "validation" not in result.rows[-1]:
                raise InputError("nothing is held out to choose by: give --validation 1 or more")
            runs[result.folder] = result
            progress.advance(note=f"{100 * result.rows[-1]['validation']['accuracy']['balanced']:.1f} %")
    return [_accuracy(runs[plan.training.out], plan) for plan in plans]


def _trained(configs: Sequence[Config], jobs: int) -> Iterator[Run]:
    if jobs == 1:
        yield from map(train, configs)
        return
    threads = max((os.cpu_count() or 1) // jobs, 1)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(jobs, context, initializer=torch.set_num_threads, initargs=(threads,)) as processes:
        futures = [processes.submit(train, config) for config in configs]
        for future in as_completed(futures):
            yield future.result()


def _accuracy(result: Run, plan: Plan) -> dict[str, Any]:
    """The validation accuracy after the last epoch, with the post-hoc stage applied if there is one."""
    if plan.stage is None:
        last: dict[str, Any] = result.rows[-1]["validation"]["accuracy"]
        return last
    checkpoint = load_checkpoint(result.checkpoint)
    device = choose_device(plan.training.device)
    network = build_model(checkpoint.model["name"], **checkpoint.model["kwargs"])
    network.load_state_dict(checkpoint.state_dict)
    if plan.stage == "tau-norm":
        decoupling.tau_normalize(network, tau=plan.tau)
    else:
        decoupling.adjust_post_hoc(network, result.class_counts, tau=plan.tau)
    split = open_split(checkpoint.data, "validation", plan.training.data_dir)
    dtype = next(network.parameters()).dtype
    loaders = open_loaders({"validation": split}, device, augment="none", workers=plan.training.workers, dtype=dtype)
    batches = loaders["validation"].evaluation(torch.arange(len(split)))
    found: dict[str, Any] = evaluate(network.to(device), batches, result.class_counts)["accuracy"]
    return found


def _values(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not name=value,value,…")
    return name, split_values(values)


def _main(arguments: argparse.Namespace) -> None:
    given = {name: value for name, value in vars(arguments).items() if name in Config.__dataclass_fields__}
    settings = {**(load_recipe(arguments.recipe) if "recipe" in arguments else {}), **given}
    if settings.get("imbalance") == "natural":
        settings["imbalance"] = None
    base = Config(**{**settings, "snapshots": 0})
    base = replace(base, evaluate_every=base.epochs)
    if arguments.jobs < 1 or arguments.seeds < 1:
        raise InputError(f"{arguments.seeds} seeds by {arguments.jobs} jobs are no search: give at least 1 of each")
    found = search(base, dict(arguments.vary), seeds=arguments.seeds, jobs=arguments.jobs, halving=arguments.halving)
    result = table(found)
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
    add, unset = parser.add_argument, argparse.SUPPRESS
    add(
        "--vary", type=_values, action="append", required=True, metavar="NAME=VALUE,…", help="to try; lists in brackets"
    )
    add("--seeds", type=int, default=3, help="runs of each combination")
    add("--halving", action="store_true", help="only the better half goes on to the next seed")
    add("--jobs", type=int, default=1, help="runs at a time")
    add("--recipe", default=unset, help="a recipe of training.run, which the flags below override")
    add("--data", default=unset, help="data set")
    add("--data-dir", type=Path, default=unset, help="folder that holds the data set")
    add("--validation", type=int, default=unset, help="images a class to hold out (default: the data set's habit)")
    add("--model", default=unset, help="network")
    add("--method", default=unset, help="method")
    add("--epochs", type=int, default=unset, help="epochs of each run")
    add("--device", default=unset, help="auto, cpu, cuda")
    add("--out", type=Path, required=True, help="folder of the runs and of table.md")
    run(_main, parser, argv)


if __name__ == "__main__":
    main()
