"""A run folder: what training writes and what it continues from.

config.json      the resolved configuration
metrics.jsonl    one line an epoch
checkpoint.pt    the last epoch;  best.pt: the best by the validation split
resume.pt        weights, optimizer, epoch: what an interrupted run continues from
snapshots/       checkpoints along the way
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import Field
from torch import Tensor

from foundation.declared import Count, Declared, Finite, Open, Text, check_settings, read_json, validated
from foundation.errors import InputError
from foundation.files import locked, require_writable_folder, write_json, write_text
from foundation.metrics_line import Epoch, Scores, read_lines
from training.checkpoint import Checkpoint, check_tensors, load_tensors, save_checkpoint, save_tensors
from training.config import Config, first_difference

AGAIN = "name another --out, or move the folder away and train again"
OTHER = "name another --out"


class State(Declared):
    """What a trainer continues from."""

    network: dict[Text, Tensor]
    optimizer: dict[Text, Any]
    average: dict[Text, Tensor] = Field(default_factory=dict)
    class_shares: Tensor | None = None


class Resume(Declared):
    """A `resume.pt`."""

    epoch: Epoch
    best: Finite
    state: State


class Result(Scores):
    """Of the test split."""

    epoch: Count


class Summary(Open):
    """A `summary.json`."""

    last: Result
    best: Result | None = None


class RunFolder:
    """The files of one run.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoint = path / "checkpoint.pt"
        self.best = path / "best.pt"
        self.metrics = path / "metrics.jsonl"
        self.summary = path / "summary.json"
        self._config = path / "config.json"
        self._resume = path / "resume.pt"

    @contextlib.contextmanager
    def claimed(self, config: Config) -> Iterator[dict[str, Any] | None]:
        """Holds the folder for this process and this configuration.

        Args:
            config: The run that wants it, resolved.

        Yields:
            What an interrupted run of the same configuration left in `resume.pt`, or None for a fresh start.

        Raises:
            InputError: The folder cannot be written, another process is training in it, or it holds another run.
        """
        self.check(config)
        require_writable_folder(self.path, "--out")
        with locked(
            self.path / ".lock", f"another process is training in {self.path}: wait for it or name another --out"
        ):
            yield self._saved() if self._resume.is_file() else None

    def _saved(self) -> dict[str, Any]:
        saved: dict[str, Any] = load_tensors(self._resume, "resume file")
        validated(Resume, saved, repr(str(self._resume)), AGAIN)
        state = saved["state"]
        check_tensors({**state["network"], **state.get("average", {})}, repr(str(self._resume)))
        return saved

    def check(self, config: Config) -> None:
        """Refuses a folder that holds another run: one of which an epoch was saved.

        Args:
            config: The run that wants it, resolved.

        Raises:
            InputError: It does.
        """
        existing = read_config(self.path) if self._resume.is_file() else None
        if existing is not None and (name := first_difference(existing, config.plain())):
            raise InputError(
                f"{self.path} holds a run with {name} {existing.get(name)!r}, not {config.plain().get(name)!r}: "
                "name another --out or give the settings of its config.json"
            )

    def cut_metrics(self, epoch: int) -> list[dict[str, Any]]:
        """Drops what was written after the epoch that a run continues from.

        Args:
            epoch: Epochs done.

        Returns:
            The lines that stay.

        Raises:
            InputError: Those of earlier epochs are not there, or one is not as declared.
        """
        rows = read_lines(self.metrics, AGAIN)[:epoch]
        if [row["epoch"] for row in rows] != list(range(1, epoch + 1)):
            raise InputError(f"{str(self.metrics)!r} does not hold the lines of epochs 1 to {epoch}: {AGAIN}")
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))
        return rows

    def read_summary(self) -> dict[str, Any] | None:
        """What `summary.json` says; None where there is none.

        Returns:
            `last` and, where something was held out, `best`.

        Raises:
            InputError: It is not as declared.
        """
        if not self.summary.is_file():
            return None
        read_json(self.summary, Summary, "move it away, and the same command writes it again")
        found: dict[str, Any] = json.loads(self.summary.read_bytes())
        return found

    def record(
        self, row: dict[str, Any], checkpoint: Checkpoint, resume: dict[str, Any], *, best: bool, snapshot: bool
    ) -> None:
        """Writes an epoch; `resume.pt` last, so that a process killed in between repeats the epoch.

        With the first epoch the folder becomes this run's: one that failed before it may be tried with other settings.

        Args:
            row: The line for `metrics.jsonl`.
            checkpoint: The network now.
            resume: What continuing needs.
            best: Whether it is the best so far on the validation split.
            snapshot: Whether to keep it among the snapshots.
        """
        if not self._resume.is_file():
            write_json(self._config, checkpoint.config)
        with self.metrics.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")
        if snapshot:
            snapshots = self.path / "snapshots"
            snapshots.mkdir(exist_ok=True)
            save_checkpoint(snapshots / f"epoch-{checkpoint.epoch:04d}.pt", checkpoint)
        if best:
            save_checkpoint(self.best, checkpoint, sync_folder=False)
        save_checkpoint(self.checkpoint, checkpoint, sync_folder=False)
        save_tensors(self._resume, resume)


def read_config(path: Path) -> dict[str, Any]:
    """The resolved configuration of a run.

    Args:
        path: The run folder.

    Returns:
        What its `config.json` says.

    Raises:
        InputError: There is none, or it is not as `Config` declares.
    """
    file = path / "config.json"
    if not file.exists():
        raise InputError(f"{path} holds no run to resume: leave --resume out to start one")
    values: dict[str, Any] = read_json(file, dict[str, Any], OTHER)
    check_settings(Config, {key: value for key, value in values.items() if value is not None}, repr(str(file)), OTHER)
    return values
