"""`python -m analyses.methods_table`: every method on the embedded data, and whether BGP lifts the few-shot classes.

Each method is trained with each seed (of weights and of the chosen images alike) on `fashion-mini`, and its last epoch
is asked about every image of the full Fashion-MNIST test set where that is on the machine. A run folder a method and
seed: an interrupted table continues.

Two kinds of chance are kept apart. Differences of two methods are paired by seed, with a t-interval over seeds; and
test images are resampled within their classes, paired too, for the chance of having these 10,000 and not others.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import torch
from scipy import special

from foundation.command import Parser, run
from foundation.errors import InputError, one_of
from foundation.files import replacing, write_json, write_text
from foundation.groups import group_classes
from foundation.progress import Progress
from training import Config, Run, train
from training.checkpoint import load_checkpoint
from training.data import Split, open_data
from training.methods.method import build_method
from training.models import build_model

RESAMPLES = 2000
COLUMNS = ("all", "many", "medium", "few")

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    **{
        name: (name, {})
        for name in (
            "ce",
            "cb",
            "drw",
            "focal",
            "ldam",
            "ldam-drw",
            "balanced-softmax",
            "la",
            "post-hoc-la",
            "vs",
            "ib",
            "abc-norm",
            "bgp",
            "ldam-drw+bgp",
            "balanced-softmax+bgp",
            "la+bgp",
            "batch-balanced-ce",
            "unbalanced-penalty",
            "mae",
            "balanced-sampling",
            "sqrt-sampling",
            "progressive-sampling",
            "crt",
            "lws",
            "tau-norm",
            "mixup",
            "cmo",
            "sam",
            "asam",
            "gnp",
            "gsam",
            "imbsam",
            "cc-sam",
            "la+focal-sam",
        )
    },
    "bgp logit l1": ("bgp", {"norm": "l1"}),
    "bgp class-mean": ("bgp", {"member": "class-mean"}),
    "bgp classifier": ("bgp", {"member": "classifier"}),
    "bgp logit-norm": ("bgp", {"member": "logit-norm"}),
    "bgp parameters": ("bgp", {"member": "parameters"}),
}
"""Rows of the table: the method and its settings."""

PAIRS = (
    ("ce", "bgp"),
    ("ldam-drw", "ldam-drw+bgp"),
    ("balanced-softmax", "balanced-softmax+bgp"),
    ("la", "la+bgp"),
    ("batch-balanced-ce", "bgp"),
    ("unbalanced-penalty", "bgp"),
    ("ce", "batch-balanced-ce"),
    ("ce", "bgp classifier"),
    ("ce", "bgp logit-norm"),
    ("ce", "sam"),
)
"""What is set against what: each base with and without BGP, its two ablations, its doubtful members, and SAM."""


@dataclass(frozen=True)
class Interval:
    """A mean and its 95 % interval, all in percent points."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.1f} [{self.low:.1f}, {self.high:.1f}]"


@dataclass(frozen=True)
class Difference:
    """Accuracy of one method less another's in one group.

    Attributes:
        over_seeds: Paired by seed, a t-interval.
        over_images: Means over seeds, test images resampled within classes.
    """

    over_seeds: Interval
    over_images: Interval

    @property
    def verdict(self) -> str:
        """`"yes"` or `"no"` where both intervals leave 0 out, else `"open"`."""
        low, high = min(self.over_seeds.low, self.over_images.low), max(self.over_seeds.high, self.over_images.high)
        return "yes" if low > 0 else "no" if high < 0 else "open"


@dataclass(frozen=True)
class Table:
    """The answer.

    Attributes:
        accuracy: By method and group, in percent; the interval is over test images.
        differences: By (base, method) and group.
        images: How many test images were asked about.
        seeds: How many runs a method.
    """

    accuracy: Mapping[str, Mapping[str, Interval]]
    differences: Mapping[tuple[str, str], Mapping[str, Difference]]
    images: int
    seeds: int


def tabulate(
    right: Mapping[str, np.ndarray],
    labels: np.ndarray,
    groups: Mapping[str, Sequence[int]],
    *,
    resamples: int = RESAMPLES,
) -> Table:
    """Accuracies and paired differences from what each run got right.

    Args:
        right: By method, (S, N) bool: seeds by test images.
        labels: (N,) of the test images.
        groups: Classes of each group; `all` among them.
        resamples: Of the test images.

    Returns:
        The table.
    """
    methods = list(right)
    mean_right = np.stack([right[name].mean(0) for name in methods])  # (M, N)
    random = np.random.RandomState(0)
    classes = np.unique(labels)
    by_class = np.empty((resamples, len(methods), len(classes)))
    for position, label in enumerate(classes):
        values = mean_right[:, labels == label]
        times = random.multinomial(values.shape[1], np.full(values.shape[1], 1 / values.shape[1]), size=resamples)
        by_class[:, :, position] = times @ values.T / values.shape[1]
    sizes = np.array([(labels == label).sum() for label in classes])
    accuracy: dict[str, dict[str, Interval]] = {name: {} for name in methods}
    differences: dict[tuple[str, str], dict[str, Difference]] = {
        pair: {} for pair in PAIRS if set(pair) <= set(methods)
    }
    for group, members in groups.items():
        chosen = np.isin(classes, members)
        resampled = 100 * by_class[:, :, chosen] @ (sizes[chosen] / sizes[chosen].sum())  # (R, M)
        images = np.isin(labels, members)
        by_seed = {name: 100 * right[name][:, images].mean(1) for name in methods}  # (S,)
        for position, name in enumerate(methods):
            accuracy[name][group] = _percentiles(by_seed[name].mean(), resampled[:, position])
        for base, other in differences:
            over_seeds = by_seed[other] - by_seed[base]
            over_images = resampled[:, methods.index(other)] - resampled[:, methods.index(base)]
            differences[base, other][group] = Difference(
                _t_interval(over_seeds), _percentiles(over_seeds.mean(), over_images)
            )
    return Table(accuracy, differences, len(labels), len(right[methods[0]]))


def _percentiles(mean: float, values: np.ndarray) -> Interval:
    low, high = np.percentile(values, (2.5, 97.5))
    return Interval(float(mean), float(low), float(high))


def _t_interval(values: np.ndarray) -> Interval:
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, float("-inf"), float("inf"))
    half = float(special.stdtrit(len(values) - 1, 0.975) * values.std(ddof=1) / len(values) ** 0.5)
    return Interval(mean, mean - half, mean + half)


def predictions(folder: Path, test: Split) -> np.ndarray:
    """The classes that a run's last checkpoint predicts; kept beside it.

    Args:
        folder: The run's folder.
        test: The images to ask about.

    Returns:
        (N,) int64.
    """
    file = folder / f"predictions-{len(test)}.npy"
    if not file.is_file():
        checkpoint = load_checkpoint(folder / "checkpoint.pt")
        network = build_model(checkpoint.model["name"], **checkpoint.model["kwargs"]).eval()
        network.load_state_dict(checkpoint.state_dict)
        with torch.no_grad():
            parts = torch.arange(len(test)).chunk(len(test) // 250)
            predicted = torch.cat([network(test.inputs(part)).argmax(1) for part in parts])
        with replacing(file) as temporary, temporary.open("wb") as opened:
            np.save(opened, predicted.numpy())
    return np.asarray(np.load(file))


def test_images(data_dir: Path | None = None) -> Split:
    """The full Fashion-MNIST test set where it is on this machine, else the 1,000 packed test images."""
    try:
        return open_data("fashion-mnist", data_dir=data_dir).test
    except InputError:
        return open_data("fashion-mini").test


def configuration(out: Path, name: str, *, seed: int, epochs: int) -> Config:
    """One run of the table.

    Args:
        out: The folder of the runs.
        name: The row, a key of `METHODS`.
        seed: Of weights and of the chosen images alike.
        epochs: Of the run.

    Returns:
        Its configuration.
    """
    method, kwargs = METHODS[name]
    return Config(
        out=out / name.replace(" ", "_") / f"seed-{seed}",
        method=method,
        method_kwargs=kwargs,
        seed=seed,
        data_seed=seed,
        epochs=epochs,
        evaluate_every=epochs,
        snapshots=0,
    )


def check_settings(run: Run) -> None:
    """Refuses a run of an earlier day whose method had other default settings than it has now.

    Args:
        run: A finished run.

    Raises:
        InputError: A setting differs.
    """
    then = load_checkpoint(run.checkpoint).method
    now = build_method(run.config.method, run.class_counts, **run.config.method_kwargs).record
    if then != now:
        raise InputError(
            f"{run.folder} was trained with {then['kwargs']}, and the method's settings are now {now['kwargs']}: "
            "move the folder away to train it again"
        )


def methods_table(out: Path, *, methods: Sequence[str], seeds: int, epochs: int, test: Split) -> Table:
    """Trains what is not yet trained and asks every run about the test images.

    Args:
        out: The folder of the runs.
        methods: Rows, keys of `METHODS`.
        seeds: How many, from 0.
        epochs: Of each run.
        test: The test images.

    Returns:
        The table.
    """
    labels = test.labels.numpy()
    right = {}
    with Progress("methods", len(methods) * seeds, "run") as progress:
        for name in methods:
            by_seed = []
            for seed in range(seeds):
                finished = train(configuration(out, name, seed=seed, epochs=epochs))
                check_settings(finished)
                by_seed.append(predictions(finished.folder, test) == labels)
                progress.advance(note=name)
            right[name] = np.stack(by_seed)
    groups = {"all": tuple(range(len(finished.class_counts))), **dict(group_classes(finished.class_counts).named())}
    return tabulate(right, labels, groups)


def markdown(table: Table) -> str:
    """The table as Markdown, with its answers where there are seeds to pair."""
    runs = "one seed" if table.seeds == 1 else f"mean of {table.seeds} seeds"
    lines = [
        f"Accuracy in percent on {table.images:,} test images, {runs}, with 95 % intervals over the test images.",
        "",
        f"| method | {' | '.join(COLUMNS)} |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, by_group in sorted(table.accuracy.items(), key=lambda item: -item[1]["all"].mean):
        lines.append(f"| {name} | {' | '.join(str(by_group[column]) for column in COLUMNS)} |")
    if table.seeds == 1:
        return "\n".join(lines) + "\n"
    lines += [
        "",
        "Differences in percent points with 95 % intervals: a t-interval over seeds (paired), and over test images "
        "(paired); *better* says yes or no where both leave 0 out.",
        "",
        "| | all | few, over seeds | few, over images | few: better? |",
        "|---|---|---|---|---|",
    ]
    for (base, other), groups in table.differences.items():
        few, every = groups["few"], groups["all"].over_seeds
        lines.append(f"| {other} - {base} | {every} | {few.over_seeds} | {few.over_images} | {few.verdict} |")
    return "\n".join(lines) + "\n"


def _main(arguments: argparse.Namespace) -> None:
    methods = [name.strip() for name in arguments.methods.split(",")] if arguments.methods else list(METHODS)
    for name in methods:
        if name not in METHODS:
            raise one_of("row", name, METHODS)
    if arguments.seeds < 1:
        raise InputError(f"seeds {arguments.seeds} is below 1: give at least 2 for an interval")
    test = test_images(arguments.data_dir)
    table = methods_table(arguments.out, methods=methods, seeds=arguments.seeds, epochs=arguments.epochs, test=test)
    text = markdown(table)
    write_text(arguments.out / "table.md", text)
    write_json(arguments.out / "table.json", _plain(table))
    print(text, end="")


def _plain(table: Table) -> dict[str, Any]:
    def interval(value: Interval) -> list[float]:
        return [round(number, 3) for number in (value.mean, value.low, value.high)]

    return {
        "images": table.images,
        "seeds": table.seeds,
        "accuracy": {name: {g: interval(i) for g, i in groups.items()} for name, groups in table.accuracy.items()},
        "differences": {
            f"{other} - {base}": {
                group: {
                    "over_seeds": interval(d.over_seeds),
                    "over_images": interval(d.over_images),
                    "better": d.verdict,
                }
                for group, d in groups.items()
            }
            for (base, other), groups in table.differences.items()
        },
    }


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command.

    Args:
        argv: Arguments instead of the process's own.
    """
    parser = Parser(
        "analyses.methods_table", "Compares every method on the embedded data.", "--seeds 5 --out runs/methods"
    )
    parser.add_argument("--methods", help="rows, separated by commas (none given: all)")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each method")
    parser.add_argument("--epochs", type=int, default=Config.epochs, help="epochs of each run")
    parser.add_argument("--data-dir", type=Path, help="folder of the full Fashion-MNIST")
    parser.add_argument("--out", type=Path, default=Path("runs/methods"), help="folder of the runs and of table.md")
    run(_main, parser, argv)


if __name__ == "__main__":
    main()
