"""The ways a command can end badly."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class LandscapeError(Exception):
    """A failure that the user can read: one sentence with the value and the way out.

    Attributes:
        exit_code: What the process returns when a command ends with this error.
    """

    exit_code = 1


class InputError(LandscapeError):
    """Bad input (a name, a file, a number): nothing was written, exit code 2."""

    exit_code = 2


class ForeignPackageError(InputError, ImportError):
    """Another package of the same name lies in front of one of ours."""


class LostProcessError(LandscapeError):
    """Another process of a joint run is gone.

    Threads of the communication that it left unfinished can abort an orderly end of the interpreter, so that a command
    ends at once and a program that catches this does well to leave by `os._exit`.
    """


def one_of(kind: str, value: str, known: Iterable[str]) -> InputError:
    """The sentence for a name that is not in a registry.

    Args:
        kind: What the name stands for, such as `"data set"`.
        value: The name that was given.
        known: The names that exist.

    Returns:
        An `InputError` ready to be raised.
    """
    names = sorted(known)
    near = "".join(f" (did you mean {name}?)" for name in get_close_matches(value, names, n=1))
    return InputError(f"unknown {kind} {value!r}{near}: choose one of {', '.join(names)}")
