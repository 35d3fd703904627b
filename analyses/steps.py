"""A study's steps are the commands a user would type: shown, run in this process, resumed when repeated."""

from __future__ import annotations

import importlib
import shlex
import sys


def step(module: str, *arguments: object) -> None:
    """Prints a command and runs it; a failed one ends the study with the command's own sentence and exit code.

    Args:
        module: What `python -m` would run, such as `"landscape.hessian"`.
        *arguments: Its arguments.
    """
    words = [str(argument) for argument in arguments]
    print(f"\n$ python -m {module} {shlex.join(words)}", flush=True)
    try:
        command = importlib.import_module(module)
        if hasattr(command, "__path__"):  # a package runs by its __main__
            command = importlib.import_module(f"{module}.__main__")
        command.main(words)
    except SystemExit as ended:
        if ended.code:
            sys.exit(ended.code)
