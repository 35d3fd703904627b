"""How every command begins and ends: one-sentence errors, fixed exit codes, an interrupt that keeps the work."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn, TextIO

from foundation import endings
from foundation.errors import InputError, LandscapeError, LostProcessError
from foundation.ranks import speaks_first


class _Help(argparse.ArgumentDefaultsHelpFormatter):
    """Says a default once: not where the help says it in words, nor where there is none to say."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = "(default" in (action.help or "")
        if told or action.default is None or action.default is False or action.default == "":
            return action.help
        if action.default is True:
            return f"{action.help} (default: yes)"
        if isinstance(action.default, tuple):  # as it is given on the command line
            values = ",".join(map(str, action.default))
            return f"{action.help} (default: {values})" if values else action.help
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

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Parses; an option that nobody knows is answered with the one that looks most like it."""
        parsed, unknown = self.parse_known_args(args, namespace)
        if unknown:
            options = [
                name for action in self._actions if action.help != argparse.SUPPRESS for name in action.option_strings
            ]
            self.error(f"unrecognized arguments: {' '.join(unknown)}{_near(unknown[0].partition('=')[0], options)}")
        return parsed

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            known = [str(choice) for choice in action.choices]
            raise argparse.ArgumentError(
                action, f"unknown {value!r}{_near(str(value), known)}: choose {' or '.join(known)}"
            )

    def error(self, message: str) -> NoReturn:
        """Ends the command as every other bad input does: one sentence, exit code 2."""
        said = f"error: {message} (see {self.prog} --help)\n" if speaks_first() else None
        self.exit(InputError.exit_code, said)


def _near(value: str, known: Sequence[str]) -> str:
    return "".join(f" (did you mean {name}?)" for name in get_close_matches(value, known, n=1))


def _spelled(module: str) -> str:
    """How the command was called: `landscape hessian` by the console script, else `python -m landscape.hessian`."""
    package, _, name = module.partition(".")
    return f"{package} {name}" if Path(sys.argv[0]).stem == package else f"python -m {module}"


def run(main: Callable[[argparse.Namespace], None], parser: Parser, argv: Sequence[str] | None = None) -> NoReturn:
    """Parses, runs `main` and exits: 0 done, 1 a failure, 2 bad input, 128 + n ended by signal n with the work kept.

    SIGINT (^C, 130), SIGTERM (what a batch scheduler sends before SIGKILL, 143) and SIGHUP (129) are answered alike.

    Args:
        main: The command's work; it prints to stdout and raises `LandscapeError` for what a user should read.
        parser: Its arguments.
        argv: Arguments instead of `sys.argv[1:]`, for studies and tests.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # names of files need not be text that the terminal can show
        sys.stdout.reconfigure(errors="backslashreplace")
    with endings.working():
        code = _code_of(lambda: main(parser.parse_args(argv)))
    sys.exit(code)


def _code_of(work: Callable[[], None]) -> int:
    """Runs a command's work and says in one sentence how it ended, unless well."""
    try:
        work()
        sys.stdout.flush()
        endings.look()
        return 0
    except SystemExit as ended:  # `--help`, a bad option, or a step of a study: it has said why
        if ended.code is not None and not isinstance(ended.code, int):
            raise
        return ended.code or 0
    except BaseException as error:
        number = endings.asked()
        if isinstance(error, KeyboardInterrupt) or number is not None:
            # Whatever an interrupt became on its way up, such as an error of a library that it fell into.
            number = number or signal.SIGINT
            if speaks_first():
                print(endings.sentence(number), file=sys.stderr, flush=True)
            return 128 + number
        if isinstance(error, BrokenPipeError):  # `… | head` closed our output: nothing is left to say to anyone
            _silence(sys.stdout)
            return 1
        if (said := _sentence(error)) is None:
            raise
        _silence(sys.stdout)
        if speaks_first():
            print(f"error: {said}", file=sys.stderr, flush=True)
        if isinstance(error, LostProcessError):
            os._exit(error.exit_code)
        return error.exit_code if isinstance(error, LandscapeError) else 1


def _sentence(error: BaseException) -> str | None:
    """What a user should read of an error; None of a mistake in the program."""
    if isinstance(error, LandscapeError):
        return str(error)
    if isinstance(error, OSError) and error.strerror:
        place = "the output" if error.filename is None else repr(os.fsdecode(error.filename))
        return f"{place} failed ({error.strerror}): earlier results are as they were, and the same command continues"
    if isinstance(error, MemoryError):
        return "the memory is full: measure fewer samples or points, or use a machine with more"
    return None


def _silence(stream: TextIO) -> None:
    """Empties an output that may be closed or full, so that the interpreter does not complain of it at its end."""
    try:
        stream.flush()
    except (OSError, ValueError):
        with Path(os.devnull).open("w") as nowhere, contextlib.suppress(OSError, ValueError):
            os.dup2(nowhere.fileno(), stream.fileno())


def named_values(option: str, text: str, example: str) -> dict[str, str]:
    """What `KEY=VALUE,KEY=VALUE` says.

    Args:
        option: The option it was given to, for the sentence.
        text: What was given.
        example: How to give it.

    Returns:
        Values by key.

    Raises:
        InputError: It is no such list.
    """
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    if not all(key and sign and value for key, sign, value in pairs):
        raise InputError(f"{option} {text!r} is not understood: write {example}")
    return {key: value for key, _, value in pairs}
