"""What was measured, how far and by what, as words for the page's last panel."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

from landscape.comparison.runs import Run

_ABSOLUTE = re.compile(r"(?<![\w./:~])(?:[A-Za-z]:[\\/]|/)(?:[^\s'\",;:/\\]+[/\\])+[^\s'\",;:/\\]+")


def provenance_of(run: Run) -> list[dict[str, Any]]:
    """The origin of every measurement of a run.

    Args:
        run: The run.

    Returns:
        One entry a measurement: `what` it is, whether it is `complete`, the `command` that made it, to be given in the
        folder that holds the run's, and `config`, `extent`, `made` and `spent` in words. No path is absolute: a reader
        has another machine.
    """
    home = run.landscape.path.resolve().parent.parent
    return [
        {
            "what": f"{m.analysis}/{m.name}",
            "complete": m.complete,
            "command": portable(str(m.provenance.get("command") or ""), home),
            "config": portable(_pairs(m.config), home),
            "extent": portable(_pairs(m.extent), home),
            "made": portable(_pairs({k: v for k, v in m.provenance.items() if k != "command"}), home),
            "spent": portable(
                _pairs({k: v for k, v in m.attributes.items() if k not in ("analysis", "config_sha256", "identity")}),
                home,
            ),
        }
        for m in run.landscape.measurements
    ]


def portable(text: str, home: Path) -> str:
    """Text with no absolute path: those below a folder are told from there, others by their last two parts.

    Args:
        text: A command line, or other words.
        home: The folder.

    Returns:
        The same words; of a command line, quoted as a shell needs them.
    """
    try:
        words = shlex.split(text)
    except ValueError:
        words = []
    if words[:2] == ["python", "-m"] or words[:1] == ["landscape"]:
        return shlex.join(_relative(word, home) for word in words)
    return _ABSOLUTE.sub(lambda found: _short_path(found[0], home), text)


def _relative(word: str, home: Path) -> str:
    """One word of a command: a path, several with commas between them, or what follows `--option=`."""
    option, equals, value = word.rpartition("=") if word.startswith("--") else ("", "", word)
    return option + equals + ",".join(_short_path(part, home) for part in value.split(","))


def _short_path(text: str, home: Path) -> str:
    if not _ABSOLUTE.match(text) and not Path(text).is_absolute():
        return text
    path, behind = Path(text), ""
    if ":" in path.name:  # mine.py:build
        name, _, behind = path.name.partition(":")
        path, behind = path.with_name(name), f":{behind}"
    if path.is_relative_to(home):
        return f"{path.relative_to(home)}{behind}"
    return "/".join([part for part in re.split(r"[/\\]", str(path)) if part][-2:]) + behind


def _pairs(values: Any) -> str:
    return " · ".join(f"{key} {_short(value)}" for key, value in values.items() if value not in (None, "", [], {}))


def _short(value: Any) -> str:
    text = (
        f"{value:.6g}"
        if isinstance(value, float)
        else json.dumps(value)
        if isinstance(value, dict | list)
        else str(value)
    )
    return text if len(text) <= 200 else text[:199] + "…"
