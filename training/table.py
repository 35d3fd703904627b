"""A run's progress as lines of a table: many, medium and few at a glance."""

from __future__ import annotations

from typing import Any

COLUMNS = ("all", "many", "medium", "few")
SPLITS = ("validation", "test")
HEADER = "epoch  objective |" + " |".join(
    f" {split[:5]:>5}" + "".join(f"{name:>7}" for name in COLUMNS) for split in SPLITS
)


def line(row: dict[str, Any]) -> str:
    """One epoch: the objective and accuracies in percent, blank where they were not measured.

    Args:
        row: A line of `metrics.jsonl`.

    Returns:
        Text that stands under `HEADER`.
    """
    parts = [f"{row['epoch']:5d} {row['objective']:10.4f} |"]
    for split in SPLITS:
        accuracy = row[split]["accuracy"] if split in row else {}
        cells = (f"{100 * accuracy[name]:7.1f}" if name in accuracy else " " * 7 for name in COLUMNS)
        parts.append(" " * 6 + "".join(cells))
    return f"{parts[0]}{' |'.join(parts[1:])}".rstrip()


def result(name: str, epoch: int, scores: dict[str, Any]) -> str:
    """The sentence that ends a run.

    Args:
        name: Which epoch it is, `"last"` or `"best"`.
        epoch: Its number.
        scores: `loss` and `accuracy` of the test split.

    Returns:
        Accuracies in percent.
    """
    accuracy = scores["accuracy"]
    shown = ", ".join(f"{key} {100 * accuracy[key]:.1f}" for key in COLUMNS if key in accuracy)
    return f"{name} epoch {epoch}, test accuracy: {shown} %"
