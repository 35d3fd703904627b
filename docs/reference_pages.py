"""Pages of the reference that are made from the code: commands, methods, the checkpoint's contract, the Python API.

Each page is a function that returns Markdown (MyST); `write_pages` puts them where Sphinx reads them. Nothing here is
written twice: parsers, registries, declared models and docstrings are the sources.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import inspect
import io
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

import landscape
from foundation.command import Parser
from landscape.__main__ import COMMANDS
from training.batches.augment import AUGMENTATIONS
from training.checkpoint import Content
from training.data import DATASETS
from training.methods.registry import KINDS
from training.models import MODELS
from training.registry import Entry

TRAINING = "training.run"
STUDIES = ("analyses.quickstart", "analyses.methods_table", "analyses.search")
API = {  # public names by what they are for, in reading order
    "What is measured": ("Subject", "TensorSamples", "open_checkpoint", "check"),
    "Measuring": (
        "measure", "measure_hessian", "measure_cross_class", "measure_sharpness", "measure_surface", "top_eigenvalues",
        "batch_eigenvalues", "HessianSettings", "SharpnessSettings", "SurfaceSettings",
    ),
    "Planes": ("Plane", "random_plane", "eigen_plane", "gradient_plane", "pca_plane", "checkpoints_plane"),
    "Files, page and figures": ("save", "read_landscape", "open", "write_report", "write_figures"),
    "Whether results can be believed": ("verify", "selftest"),
    "While a network is trained": ("Tracker", "Track", "read_track", "lightning_callback", "transformers_callback"),
}  # fmt: skip


def parsers() -> dict[str, Parser]:
    """The parser of each command that measures, draws or trains, by what one types."""
    found = {}
    for name, (module, _) in COMMANDS.items():
        holds = importlib.import_module(module)
        found[f"landscape {name}"] = (getattr(holds, "build_parser", None) or holds.parser)()
    found[f"python -m {TRAINING}"] = importlib.import_module(TRAINING).build_parser()
    return found


def commands_page() -> str:
    """Every command with every option: what it takes, its default and an example."""
    head = (
        "# Commands\n\nMade from the parsers themselves; `--help` says the same. "
        "`landscape NAME` and `python -m landscape.NAME` are the same command for hessian, sharpness, surface, report "
        "and figures; check, verify and selftest have the first form alone. "
        "Exit codes: 0 done, 1 a failure, 2 bad input, 128 + n ended by signal n with finished work kept.\n"
    )
    studies = [f"## `python -m {name}`\n\n```text\n{_help_of(name)}\n```\n" for name in STUDIES]
    return "\n".join([head, *(_command(name, parser) for name, parser in parsers().items()), *studies])


def _command(name: str, parser: Parser) -> str:
    lines = [f"## `{name}`\n", f"{parser.description}\n", f"    {_example(parser)}\n"]
    for group in parser._action_groups:
        rows = [_option(parser, action) for action in group._group_actions if _is_shown(action)]
        if rows:
            title = "" if group.title in {"options", "positional arguments"} else f"*{group.title}*\n\n"
            lines.append(f"{title}| argument | what it does |\n|---|---|\n" + "\n".join(rows) + "\n")
    return "\n".join(lines)


def _example(parser: Parser) -> str:
    """The call of the epilog, spelled as a module, whatever process builds the page."""
    return (parser.epilog or "").partition("example: ")[2]


def _is_shown(action: argparse.Action) -> bool:
    return action.help != argparse.SUPPRESS and not isinstance(action, argparse._HelpAction)


def _option(parser: Parser, action: argparse.Action) -> str:
    spelled = ", ".join(f"`{option}`" for option in action.option_strings)
    formatter = parser._get_formatter()
    takes = (
        "" if action.nargs == 0 else formatter._format_args(action, formatter._get_default_metavar_for_optional(action))
    )
    said = formatter._expand_help(action) if action.help else ""
    return f"| {spelled} {f'`{_cell(takes)}`' if takes else ''} | {_cell(said)} |"


def _cell(text: str) -> str:
    """Text that stays in its cell and is no markup."""
    return re.sub(r"\s+", " ", text).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


def _help_of(module: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        importlib.import_module(module).main(["--help"])
    return printed.getvalue().rstrip()


def methods_page() -> str:
    """Everything that a configuration can name, from the registries."""
    parts: list[tuple[str, dict[str, Entry[Any]]]] = [
        (f"Methods: {kind}", dict(found)) for kind, found in KINDS.items()
    ]
    parts += [
        ("Networks (`--model`)", dict(MODELS)),
        ("Data sets (`--data`)", dict(DATASETS)),
        ("Augmentations (`--augment`)", dict(AUGMENTATIONS)),
    ]
    head = (
        "# What can be named\n\nMade from the registries; `python -m training.run --list` says the same. Methods are "
        "joined by `+`, such as `ldam-drw+bgp`, and [Methods](../methods.md) has their formulas. BGP is a "
        "reconstruction from the paper's abstract.\n"
    )
    return "\n".join([head, *(_entries(title, entries) for title, entries in parts)])


def _entries(title: str, entries: dict[str, Entry[Any]]) -> str:
    rows = []
    for name, entry in entries.items():
        defaults = ", ".join(f"`{key}={value}`" for key, value in entry.defaults.items())
        paper = "" if entry.paper == "-" else _cell(entry.paper)
        rows.append(f"| `{name}` | {_cell(entry.about)} | {paper} | {defaults} |")
    return f"## {title}\n\n| name | what it is | source | settings |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"


def checkpoint_page() -> str:
    """The contract between training and landscape, from the declared model that every file is checked against."""
    head = (
        "# The checkpoint\n\nA `checkpoint.pt` holds tensors and plain types alone, so that reading it runs no code. "
        "Made from the model that each file is checked against; a key that a later version adds is not looked at where "
        "the model says so. Weights of any other network are read too: [Own networks](../own_networks.md).\n"
    )
    return "\n".join([head, *map(_model, _models(Content))])


def _models(model: type[BaseModel], seen: tuple[type[BaseModel], ...] = ()) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        for kind in (field.annotation, *get_args(field.annotation)):
            if inspect.isclass(kind) and issubclass(kind, BaseModel) and kind not in seen:
                yield from _models(kind, (*seen, model))


def _model(model: type[BaseModel]) -> str:
    rows = [
        f"| `{field.alias or name}` | `{_cell(_kind(field.annotation))}` | {'yes' if field.is_required() else 'no'} |"
        for name, field in model.model_fields.items()
    ]
    said = inspect.cleandoc(model.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return f"## {model.__name__}\n\n{said}\n\n| key | type | needed |\n|---|---|---|\n" + "\n".join(rows) + "\n"


def _kind(annotation: Any) -> str:
    text = annotation.__name__ if inspect.isclass(annotation) and not get_args(annotation) else str(annotation)
    return re.sub(r"Annotated\[(\w+)[^\]]*\]|\b(?:[a-z_]\w*\.)+", r"\1", text)


def api_page() -> str:
    """Every public name of `landscape`, by what it is for."""
    head = "# Python\n\n`import landscape` is cheap: each name is imported when it is first used.\n"
    return "\n".join([head, *(_section(title, names) for title, names in API.items())])


def _section(title: str, names: Iterable[str]) -> str:
    summary = "\n".join(["```{eval-rst}", ".. autosummary::", "", *(f"   landscape.{name}" for name in names), "```"])
    return "\n\n".join([f"## {title}", summary, *(_documented(name) for name in names)]) + "\n"


def _documented(name: str) -> str:
    kind = "class" if inspect.isclass(getattr(landscape, name)) else "function"
    members = ["   :members:"] if kind == "class" else []
    return "\n".join(["```{eval-rst}", f".. auto{kind}:: landscape.{name}", *members, "```"])


GALLERY = """Gallery
=======

One short program for each kind of network and data, the same files as in `examples/`. Each was run when this
site was built; what it printed is shown, with a picture of the file that it wrote or, where it wrote none, of the
spectra of its subject, measured roughly for this page.
"""


def gallery_sources(folder: Path) -> dict[str, str]:
    """The examples as sphinx-gallery reads them: the first line of the docstring is an underlined title.

    Args:
        folder: `examples/`.

    Returns:
        Text of each file by its name, that of the gallery's head among them.
    """
    found = {"README.txt": GALLERY.replace("`", "``")}
    for path in sorted(folder.glob("*.py")):
        opening, quotes, rest = path.read_text(encoding="utf-8")[3:].partition('"""')
        title, _, body = opening.replace("`", "``").partition("\n")
        title = title.removesuffix(".")
        found[path.name] = f'"""{title}\n{"=" * len(title)}\n{body}{quotes}{rest}'
    return found


PAGES: dict[str, Callable[[], str]] = {
    "commands.md": commands_page,
    "names.md": methods_page,
    "checkpoint.md": checkpoint_page,
    "api.md": api_page,
}


def write_pages(folder: Path, examples: Path) -> None:
    """Writes each page; one that is as it was is left alone, so that Sphinx does not make it again.

    What an example left in the gallery's folder goes, had its run been ended midway.

    Args:
        folder: Made where it is not there.
        examples: What the gallery is made of.
    """
    texts = {folder / name: page() for name, page in PAGES.items()}
    texts |= {folder / "examples" / name: text for name, text in gallery_sources(examples).items()}
    for path in (folder / "examples").glob("*"):
        if path not in texts:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path, text in texts.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
