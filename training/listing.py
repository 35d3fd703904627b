"""`python -m training.run --list`: what can be named, and where it comes from."""

from __future__ import annotations

from training.augment import AUGMENTATIONS
from training.data import SOURCES
from training.losses.registry import KINDS
from training.models import MODELS
from training.recipe import load_recipe, recipe_names


def listing() -> str:
    """Methods, networks, data sets, augmentations and recipes, one a line with its paper."""
    lines = ["methods (--method), joined by +, such as ldam-drw+bgp"]
    for kind, parts in KINDS.items():
        lines.append(f"  {kind}")
        for name, part in parts.items():
            settings = ", ".join(f"{key}={value}" for key, value in part.defaults.items())
            lines.append(_line(name, part.summary, part.paper, indent=4) + (f"  {{{settings}}}" if settings else ""))
    for title, entries in (
        ("networks (--model); timm:NAME where timm is installed", MODELS),
        ("data sets (--data)", SOURCES),
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
