"""How every command begins and ends: one-sentence errors, fixed exit codes, an interrupt that keeps the work."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn

from foundation.errors import InputError, LandscapeError, LostProcessError

INTERRUPTED = 130


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Says a default once: not where the help says it in words, nor where there is none to say."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = "(default" in (action.help or "")
        if told or action.default is None or action.default is False or action.default == "":
            return action.help
        return super()._get_help_string(action)


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one sentence and whose help shows defaults and an example.

    Args:
        module: The module that `python -m` runs, such as `"landscape.hessian"`.
        description: One sentence on what the command does.
        example: The arguments of a typical call.
    """

    def __init__(self, module: str, description: str, example: str) -> None:
        super().__init__(
            prog=_spelled(module),
            description=description,
            epilog=f"example: {_spelled(module)} {example}",
            formatter_class=_Help,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Ends the command as every other bad input does: one sentence, exit code 2."""
        self.exit(InputError.exit_code, f"error: {message} (see {self.prog} --help)\n")


def _spelled(module: str) -> str:
    """How the command was called: `landscape hessian` by the console script, else `python -m landscape.hessian`."""
    package, _, name = module.partition(".")
    return f"{package} {name}" if Path(sys.argv[0]).stem == package else f"python -m {module}"


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt


def run(main: Callable[[argparse.Namespace], None], parser: Parser, argv: Sequence[str] | None = None) -> NoReturn:
    """Parses, runs `main` and exits: 0 done, 1 a failure, 2 bad input, 130 interrupted with the work kept.

    SIGTERM (what a batch scheduler sends before SIGKILL) counts as an interrupt.

    Args:
        main: The command's work; it prints to stdout and raises `LandscapeError` for what a user should read.
        parser: Its arguments.
        argv: Arguments instead of `sys.argv[1:]`, for tests.
    """
    arguments = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, _terminate)
    try:
        main(arguments)
    except LandscapeError as error:
        print(f"error: {error}", file=sys.stderr)
        if isinstance(error, LostProcessError):
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(error.exit_code)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("interrupted: the work so far is kept, the same command continues it", file=sys.stderr)
        sys.exit(INTERRUPTED)
    except BrokenPipeError:  # `… | head` closed our output: nothing is left to say to anyone
        sys.stderr.close()
        sys.exit(1)
    sys.exit(0)
