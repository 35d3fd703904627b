"""`python -m benchmarks.training`: what a training step costs, as ratios measured in one run.

The methods take turns, a few steps each, so that a slow progress of the machine falls on all of them; a ratio is the
median over turns.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.document import rewrite_block
from benchmarks.pipeline import BATCH, images_over_dataloader, pipeline_share, wait
from foundation.command import Parser, run
from foundation.devices import choose_device, describe_device
from training.config import Config
from training.data import DataSet, open_data
from training.methods.method import build_method
from training.trainer import Trainer

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "ce": ("ce", {}),
    "bgp": ("bgp", {}),
    "bgp_l1": ("bgp", {"norm": "l1"}),
    "bgp_class_mean": ("bgp", {"member": "class-mean"}),
    "bgp_classifier": ("bgp", {"member": "classifier"}),
    "bgp_logit_norm": ("bgp", {"member": "logit-norm"}),
    "bgp_sample_classifier": ("bgp", {"member": "sample-classifier"}),
    "bgp_running": ("bgp", {"balance": "running"}),
    "sam": ("sam", {}),
    "imbsam": ("imbsam", {}),
    "focalsam": ("focal-sam", {}),
    "ssesam": ("sse-sam", {}),
    "gnm": ("gnm", {}),
}
"""What is timed: by its name in the figures, the method and its settings."""
COMPILED = ("ce", "bgp")
"""What is timed with `--compile`, which takes its time for each."""
STEPS_A_TURN = 4


def step_times(
    methods: Mapping[str, tuple[str, dict[str, Any]]],
    data: DataSet,
    *,
    model: str,
    device: torch.device,
    turns: int,
    compiled: bool = False,
) -> dict[str, list[float]]:
    """Seconds per step of each method, turn by turn.

    Args:
        methods: By name, the method and its settings.
        data: What is trained on.
        model: The network's name.
        device: Where.
        turns: How often each method gets its turn.
        compiled: Whether steps are compiled, on a GPU replayed from CUDA graphs.

    Returns:
        By method, one number a turn.
    """
    trainers = {}
    for name, (method, kwargs) in methods.items():
        config = Config(out=Path("unused"), method=method, method_kwargs=kwargs, model=model, compile=compiled)
        trainers[name] = Trainer(config, data, build_method(method, data.class_counts, **kwargs), device)
    order = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))
    batches = order[: BATCH * STEPS_A_TURN].tensor_split(STEPS_A_TURN)
    times: dict[str, list[float]] = {name: [] for name in methods}
    for turn in range(turns + 2):  # two turns to warm up
        for name in methods if turn % 2 else reversed(list(methods)):
            wait(device)
            started = time.perf_counter()
            trainer = trainers[name]
            for index, batch in enumerate(trainer.loaders["train"].batches(batches, seed=turn)):
                trainer.step(0, index, batch)
            wait(device)
            if turn >= 2:
                times[name].append((time.perf_counter() - started) / len(batches))
    return times


class CountOperators(TorchDispatchMode):
    """Counts what is dispatched to the device while it is entered: on a GPU each is one kernel or more to launch."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count: int = 0

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        self.count += 1
        return func(*args, **(kwargs or {}))


def operators(method: str, kwargs: dict[str, Any], data: DataSet, *, model: str) -> int:
    """Operators that a training step of a method dispatches, its forward, backward and optimizer passes together.

    Args:
        method: The method.
        kwargs: Its settings.
        data: What is trained on.
        model: The network's name.

    Returns:
        How many, counted on the CPU.
    """
    config = Config(out=Path("unused"), method=method, method_kwargs=kwargs, model=model)
    trainer = Trainer(config, data, build_method(method, data.class_counts, **kwargs), torch.device("cpu"))
    (batch,) = trainer.loaders["train"].batches([torch.arange(BATCH)], seed=0)
    trainer.step(0, 0, batch)  # the first step makes the optimizer's state
    with CountOperators() as counter:
        trainer.step(0, 1, batch)
    return int(counter.count)


def operators_beyond(data: DataSet, *, model: str) -> dict[str, int]:
    """Operators of a step of each method beyond those of cross-entropy, written down in a block of their own.

    Args:
        data: What is trained on.
        model: The network's name.

    Returns:
        How many, by method.
    """
    counts = {name: operators(*method, data, model=model) for name, method in METHODS.items()}
    added = {name: count - counts["ce"] for name, count in counts.items() if name != "ce"}
    rows = [f"| {described(*METHODS[name])} | {count} |" for name, count in added.items()]
    text = "\n".join(
        [
            f"A step of cross-entropy dispatches {counts['ce']} operators (`{model}`, eager, forward, backward and "
            "optimizer together); on a GPU each is one launch or more. Beyond them:\n",
            "| method | operators more |",
            "|---|---|",
            *rows,
        ]
    )
    print(text)
    rewrite_block("training-operators", text)
    return added


def ratio(times: dict[str, list[float]], name: str) -> float:
    """The median over turns of a method's time over cross-entropy's."""
    return statistics.median(a / b for a, b in zip(times[name], times["ce"], strict=True))


def described(method: str, kwargs: Mapping[str, Any]) -> str:
    """A method with its settings, as the table shows it."""
    return " ".join((method, *map(str, kwargs.values())))


def _main(arguments: argparse.Namespace) -> None:
    device = choose_device(arguments.device)
    data = open_data("fashion-mini", imbalance=100)
    methods = {name: METHODS[name] for name in (COMPILED if arguments.compile else METHODS)}
    times = step_times(
        methods, data, model=arguments.model, device=device, turns=arguments.turns, compiled=arguments.compile
    )
    added = operators_beyond(data, model=arguments.model)
    share = pipeline_share(data, model=arguments.model, device=device, turns=5)
    workers = min(4, os.cpu_count() or 1)
    faster = images_over_dataloader(data, model=arguments.model, device=device, workers=workers, turns=3)
    rows = [
        f"| {described(*METHODS[name])} | {1e3 * statistics.median(seconds):.1f} | {ratio(times, name):.3f} |"
        for name, seconds in times.items()
    ]
    text = "\n".join(
        [
            f"`{arguments.model}`{' compiled' if arguments.compile else ''}, batches of {BATCH}, "
            f"{describe_device(device)}, PyTorch {torch.__version__}; medians of {arguments.turns} turns.\n",
            "| method | ms a step | over cross-entropy |",
            "|---|---|---|",
            *rows,
            f"\nChoosing, augmenting and normalizing batches takes {100 * share:.1f} % of a step. Training runs at "
            f"{faster:.2f} × the images a second of a DataLoader of Pillow images with {workers} workers.",
        ]
    )
    print(text)
    where = "" if device.type == "cpu" else f"-{device.type}"
    rewrite_block(f"training{where}{'-compiled' if arguments.compile else ''}", text)
    ratios = {f"{name}_over_ce": ratio(times, name) for name in methods if name != "ce"}
    figures = {**ratios, "pipeline_share": share, "images_over_dataloader": faster, "bgp_operators": added["bgp"]}
    print(json.dumps({name: round(value, 4) for name, value in figures.items()}))


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the command.

    Args:
        argv: Arguments instead of the process's own.
    """
    parser = Parser("benchmarks.training", "Measures what a training step costs.", "--turns 40")
    parser.add_argument("--turns", type=int, default=30, help="how often each method is timed")
    parser.add_argument("--model", default="cnn", help="network")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda")
    parser.add_argument("--compile", action="store_true", help="compiled steps, on a GPU replayed from CUDA graphs")
    run(_main, parser, argv)


if __name__ == "__main__":
    main()
