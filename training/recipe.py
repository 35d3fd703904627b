"""Recipes: small YAML files that follow a published protocol; flags override them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from foundation.declared import check_settings
from foundation.errors import InputError, one_of
from training.config import Config

FOLDER = Path(__file__).with_name("recipes")
PROTOCOL = "_protocol"  # what the recipes of one folder share


def recipe_names() -> list[str]:
    """The recipes that come with the package, such as `cifar100-lt/ldam-drw+bgp`."""
    names = (str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.yaml"))
    return sorted(name for name in names if not name.endswith(PROTOCOL))


def load_recipe(name: str) -> dict[str, Any]:
    """The settings of a recipe.

    Args:
        name: One of `recipe_names()`, or the path of a YAML file.

    Returns:
        Fields of `Config` and their values: those of the folder's protocol, overridden by the recipe's own.

    Raises:
        InputError: There is no such recipe, or it cannot be read.
    """
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.is_file() or path.stem == PROTOCOL:
        raise one_of("recipe", name, recipe_names())
    protocol = path.with_name(f"{PROTOCOL}.yaml")
    settings = {**(_read(protocol) if protocol.is_file() else {}), **_read(path)}
    natural = ("imbalance", "natural")  # as the set is: no number
    known = {key: value for key, value in settings.items() if value is not None and (key, value) != natural}
    check_settings(Config, known, f"recipe {str(path)!r}", "see python -m training.run --help")
    return settings


def _read(path: Path) -> dict[str, Any]:
    try:
        settings = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise InputError(f"recipe {path} cannot be read ({' '.join(str(error).split())})") from None
    if not isinstance(settings, dict):
        raise InputError(f"recipe {path} is no list of 'setting: value' lines")
    return settings
