"""Where a file came from: code, libraries, device and command."""

from __future__ import annotations

import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from foundation.devices import describe_device
from foundation.packages import package_version


def _git(*arguments: str) -> str | None:
    root = Path(__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def command_line() -> str:
    """How this process was started, as a user would type it."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)  # set by `python -m`
    started = f"python -m {spec.name.removesuffix('.__main__')}" if spec else shlex.quote(Path(sys.argv[0]).name)
    return " ".join([started, *map(shlex.quote, sys.argv[1:])])


def provenance(device: torch.device, *, seed: int | None = None) -> dict[str, Any]:
    """What a reader needs to know about the process that wrote a file; plain JSON types only.

    Args:
        device: Where the work ran.
        seed: The seed of the work, where it has one.

    Returns:
        Version, git commit and whether the tree was dirty, library versions, device, command line, seed, time.
    """
    status = _git("status", "--porcelain", "--untracked-files=no")
    return {
        "version": package_version(),
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "cuda": torch.version.cuda if device.type == "cuda" else None,
        "device": describe_device(device),
        "command": command_line(),
        "seed": seed,
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }
