"""The ways a command can end badly."""

from __future__ import annotations


class LandscapeError(Exception):
    """A failure that the user can read: one sentence with the value and the way out.

    Attributes:
        exit_code: What the process returns when a command ends with this error.
    """

    exit_code = 1


class InputError(LandscapeError):
    """Bad input (a name, a file, a number): nothing was written, exit code 2."""

    exit_code = 2


class LostProcessError(LandscapeError):
    """Another process of a joint run is gone.

    Threads of the communication that it left unfinished can abort an orderly end of the interpreter, so that a command
    ends at once and a program that catches this does well to leave by `os._exit`.
    """


def one_of(kind: str, value: str, known: object) -> InputError:
    """The sentence for a name that is not in a registry.

    Args:
        kind: What the name stands for, such as `"data set"`.
        value: The name that was given.
        known: The names that exist, any iterable of strings.

    Returns:
        An `InputError` ready to be raised.
    """
    names = ", ".join(sorted(known))  # type: ignore[call-overload]
    return InputError(f"unknown {kind} {value!r}: choose one of {names}")
