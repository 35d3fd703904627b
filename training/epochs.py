"""Training a network from a configuration to a folder of checkpoints."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from foundation.devices import choose_device
from foundation.files import write_json
from foundation.progress import Progress
from foundation.provenance import provenance
from training import console
from training.checkpoint import Checkpoint, load_checkpoint
from training.config import Config
from training.data import DataSet, open_data
from training.data.dataset import Split
from training.distributed import from_rank_zero, process_group, raise_on_all_ranks, rank, rank_zero_first
from training.methods.method import build_method
from training.optimizer import resolved
from training.run_folder import RunFolder
from training.trainer import Trainer

MakeTracker = Callable[[Path, Split, Sequence[str], Sequence[int]], Callable[[nn.Module, int], None]]
"""Of a run's folder, its training images, the classes' names and counts: what is called with the network after each
epoch."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Attributes:
        folder: Where its files are.
        checkpoint: The network after the last epoch.
        best: The best network by the validation split; None when nothing was held out.
        rows: The lines of `metrics.jsonl`, one an epoch.
        class_counts: n_c.
        summary: Test results (`epoch`, `loss`, `accuracy`) of the `last` epoch, the headline, and of the `best`.
        config: The configuration.
    """

    folder: Path
    checkpoint: Path
    best: Path | None
    rows: tuple[dict[str, Any], ...] = field(repr=False)
    class_counts: tuple[int, ...]
    summary: dict[str, Any] = field(repr=False)
    config: Config = field(repr=False)


def show(config: Config, *, say: Callable[[str], None]) -> None:
    """Says what `train` would do, after the same checks; nothing is written.

    Args:
        config: What would be trained.
        say: Called with each line of text.

    Raises:
        InputError: A setting is not usable, or the folder holds another run.
    """
    device, config = choose_device(config.device), resolved(config)
    data = open_configured(config)
    method = build_method(config.method, data.class_counts, **config.method_kwargs)
    RunFolder(config.out).check(config)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        for line in console.preview(Trainer(config, data, method, device)).lines():
            say(line)


def train(config: Config, *, say: Callable[[str], None] = lambda line: None, track: MakeTracker | None = None) -> Run:
    """Trains one network, or continues where an interrupted run of the same configuration stopped.

    A run that is already complete is returned as it is.

    Args:
        config: What to train.
        say: Called with a line of text an epoch.
        track: Makes what looks at the network after each epoch, on rank 0 alone.

    Returns:
        The run.

    Raises:
        InputError: A setting is not usable, or the folder holds another run.
        LandscapeError: Training diverged.
    """
    device, config = choose_device(config.device), resolved(config)
    with process_group(device):
        data = rank_zero_first(lambda: open_configured(config))
        method = build_method(config.method, data.class_counts, **config.method_kwargs)
        if rank() == 0 and (left_out := data.record["kwargs"].get("skip_broken")):
            count = (
                "1 image cannot be read and is"
                if len(left_out) == 1
                else f"{len(left_out)} images cannot be read and are"
            )
            say(f"{count} left out: {', '.join(left_out[:3])}{', …' if len(left_out) > 3 else ''}")
        folder = RunFolder(config.out)
        # Initial weights and dropout use the global generator: the caller gets it back as it was.
        with torch.random.fork_rng([device] if device.type == "cuda" else []), contextlib.ExitStack() as claim:
            trainer = Trainer(config, data, method, device)
            claim.callback(trainer.close)
            saved = raise_on_all_ranks(lambda: claim.enter_context(folder.claimed(config)) if rank() == 0 else None)
            look = track and rank() == 0 and track(config.out, data.train, data.class_names, data.class_counts)
            rows = run_epochs(trainer, folder, from_rank_zero(saved), say, look or None)
            summary = conclude(trainer, folder, rows, say)
    return Run(
        folder=folder.path,
        checkpoint=folder.checkpoint,
        best=folder.best if folder.best.is_file() else None,
        rows=tuple(rows),
        class_counts=data.class_counts,
        summary=summary,
        config=config,
    )


def open_configured(config: Config) -> DataSet:
    """The data set that a configuration names."""
    return open_data(
        config.data,
        imbalance=config.imbalance,
        imbalance_type=config.imbalance_type,
        seed=config.data_seed,
        validation=config.validation,
        data_dir=config.data_dir,
        **config.data_kwargs,
    )


def run_epochs(
    trainer: Trainer,
    folder: RunFolder,
    saved: dict[str, Any] | None,
    say: Callable[[str], None],
    look: Callable[[nn.Module, int], None] | None = None,
) -> list[dict[str, Any]]:
    """Trains from what was saved to the last epoch; rank 0 writes each epoch.

    Args:
        trainer: What is trained.
        folder: Where to write.
        saved: The content of `resume.pt`, or None.
        say: Called with a line of text an epoch.
        look: Called with the network as it is evaluated and the epochs done.

    Returns:
        The lines of `metrics.jsonl`.
    """
    config, writes = trainer.config, rank() == 0
    start, best = 0, -1.0
    if saved is not None:
        trainer.restore(saved["state"], saved["epoch"])
        start, best = saved["epoch"], saved["best"]
    rows = from_rank_zero(folder.cut_metrics(start) if writes else [])
    origin = provenance(trainer.device, seed=config.seed)
    if writes and start < trainer.epochs:
        if start == 0:
            for line in console.preview(trainer).lines():
                say(line)
        say(console.HEADER)
    with Progress(f"training {folder.path.name}", trainer.epochs - start, "epoch") as progress:
        for epoch in range(start, trainer.epochs):
            row = trainer.epoch(epoch)
            rows.append(row)
            score = row["validation"]["accuracy"]["balanced"] if "validation" in row else best
            is_best, best = score > best, max(best, score)
            if writes:
                checkpoint = Checkpoint(
                    model=trainer.model,
                    data=trainer.data.record,
                    method=trainer.method.record,
                    state_dict=trainer.exported(),
                    epoch=epoch + 1,
                    metrics=row,
                    config=config.plain(),
                    provenance=origin,
                )
                resume = {"epoch": epoch + 1, "best": best, "state": trainer.state()}
                snapshot = is_snapshot(epoch + 1, trainer.epochs, config.snapshots)
                folder.record(row, checkpoint, resume, best=is_best, snapshot=snapshot)
                say(console.epoch_line(row))
            if look is not None:
                look(trainer.network if trainer.average is None else trainer.average.module, epoch + 1)
            progress.advance(note=f"objective {row['objective']:.3f}")
    return rows


def is_snapshot(epoch: int, epochs: int, count: int) -> bool:
    """Whether `epoch` (from 1) is one of `count` evenly spaced ones, the last included."""
    return count > 0 and epoch * count // epochs > (epoch - 1) * count // epochs


def conclude(
    trainer: Trainer, folder: RunFolder, rows: list[dict[str, Any]], say: Callable[[str], None]
) -> dict[str, Any]:
    """Test results of the last epoch and of the best by the validation split; rank 0 writes and says them.

    Args:
        trainer: What was trained.
        folder: The run's folder.
        rows: The lines of `metrics.jsonl`.
        say: Called with each line of text.

    Returns:
        `last` and, where something was held out, `best`: `epoch`, `loss` and `accuracy` each.
    """
    writes = rank() == 0
    summary = from_rank_zero(folder.read_summary() if writes else None)
    if summary is None:
        summary = {"last": {"epoch": rows[-1]["epoch"], **rows[-1]["test"]}}
        best = from_rank_zero(load_checkpoint(folder.best) if writes and folder.best.is_file() else None)
        if best is not None:
            scores = best.metrics.get("test") or trainer.test_scores(best.state_dict)
            summary["best"] = {"epoch": best.epoch, **scores}
        if writes:
            write_json(folder.summary, summary)
    if writes:
        for name, scores in summary.items():
            say(console.result_line(name, scores["epoch"], scores))
        say(f"wrote {folder.checkpoint}")
    return summary
