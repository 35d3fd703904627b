"""What training says on a terminal: what can be named (`--list`), one line an epoch, and the sentence at the end."""

from __future__ import annotations

from typing import Any

from training.batches.augment import AUGMENTATIONS
from training.data import DATASETS
from training.methods.registry import KINDS
from training.models import MODELS
from training.recipe import load_recipe, recipe_names

COLUMNS = ("all", "many", "medium", "few")
SPLITS = ("validation", "test")
HEADER = "epoch  objective |" + " |".join(
    f" {split[:5]:>5}" + "".join(f"{name:>7}" for name in COLUMNS) for split in SPLITS
)


def listing() -> str:
    """Methods, networks, data sets, augmentations and recipes, one a line with its paper."""
    lines = ["methods (--method), joined by +, such as ldam-drw+bgp"]
    for kind, parts in KINDS.items():
        lines.append(f"  {kind}")
        for name, part in parts.items():
            settings = ", ".join(f"{key}={value}" for key, value in part.defaults.items())
            lines.append(_line(name, part.about, part.paper, indent=4) + (f"  {{{settings}}}" if settings else ""))
    for title, entries in (
        ("networks (--model); timm:NAME where timm is installed", MODELS),
        ("data sets (--data)", DATASETS),
        ("augmentations (--augment)", AUGMENTATIONS),
    ):
        lines += ["", title]
        lines += [_line(name, entry.about, entry.paper, indent=2) for name, entry in entries.items()]
    lines += ["", "recipes (--recipe)"]
    for name in recipe_names():
        recipe = load_recipe(name)
        lines.append(f"  {name:<36} {recipe['model']}, {recipe['epochs']} epochs, batches of {recipe['batch_size']}")
    return "\n".join(lines)


def _line(name: str, about: str, paper: str, *, indent: int) -> str:
    source = "" if paper == "-" else f" ({paper})"
    return f"{' ' * indent}{name:<{24 - indent}} {about}{source}"


def epoch_line(row: dict[str, Any]) -> str:
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


def result_line(name: str, epoch: int, scores: dict[str, Any]) -> str:
    """The sentence that ends a run.

    Args:
        name: Which epoch it is, `"last"` or `"best"`.
        epoch: Its number.
        scores: `loss` and `accuracy` of the test split.

    Returns:
        Accuracies in percent.
    """
    accuracy = scores["accuracy"]
    which = f"best epoch {epoch} by validation (best.pt)" if name == "best" else f"{name} epoch {epoch}"
    shown = ", ".join(f"{key} {100 * accuracy[key]:.1f}" for key in COLUMNS if key in accuracy)
    return f"{which}, test accuracy: {shown} %"
