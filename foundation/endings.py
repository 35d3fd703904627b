"""Signals that end a command: noted first, so that none is ever lost, and never in the middle of writing a file.

A handler that only raises is not enough: an exception raised while a weak reference's callback or a destructor runs is
swallowed by the interpreter, and the command would end as if nothing had been asked of it. So the handler notes the
signal and raises `KeyboardInterrupt`; what swallows that meets `look` at the next step of its work, and the command
looks at its end. While a file is written nothing is raised (`uninterrupted`). A second signal ends at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)  # the terminal's ^C, a batch scheduler's notice, a closed terminal


class _State:
    noted: int | None = None  # the signal that was asked first
    working = False  # a command is at work that will say the sentence
    shielded = 0  # how many blocks at work must not be interrupted


_state = _State()


def take_over() -> None:
    """Answers the ending signals of this process from now on, but for those that it was started to ignore (nohup)."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _answer)
    sys.unraisablehook = _unraisable


@contextlib.contextmanager
def working() -> Iterator[None]:
    """The block is a command's work: a signal raises `KeyboardInterrupt` in it, once.

    A process that was not taken over before gets its handlers back: a program that calls a command and goes on.

    Yields:
        Nothing.
    """
    outer, handlers, hook = _state.working, {n: signal.getsignal(n) for n in SIGNALS}, sys.unraisablehook
    ours = _answer in handlers.values()
    _state.working = True
    take_over()
    try:
        yield
    finally:
        _state.working = outer
        if not ours:
            _state.noted, sys.unraisablehook = None, hook
            if threading.current_thread() is threading.main_thread():
                for number, handler in handlers.items():
                    signal.signal(number, handler)


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """The block runs to its end: a signal that comes meanwhile interrupts after it."""
    _state.shielded += 1
    try:
        yield
    finally:
        _state.shielded -= 1
    look()


def look() -> None:
    """Interrupts here, where a signal came and its interrupt was put off or swallowed.

    Raises:
        KeyboardInterrupt: It did.
    """
    if _state.noted is not None and _state.working and not _state.shielded:
        raise KeyboardInterrupt


def asked() -> int | None:
    """The signal that asked this process to end, or None."""
    return _state.noted


def sentence(number: int) -> str:
    """What a command says that a signal ended; its exit code is 128 + `number`, as of a shell."""
    return f"interrupted by {signal.Signals(number).name}: the work so far is kept, the same command continues it"


def _answer(number: int, frame: FrameType | None) -> None:
    again, _state.noted = _state.noted is not None, number if _state.noted is None else _state.noted
    if not _state.working or again:  # while modules are loaded, while the interpreter ends, or for the second time
        if _state.working or not again:  # else it was said before
            with contextlib.suppress(OSError):
                os.write(2, f"{sentence(number)}\n".encode())
        os._exit(128 + number)
    if not _state.shielded:
        raise KeyboardInterrupt


def _unraisable(what: sys.UnraisableHookArgs) -> None:
    """What the interpreter swallows is told as ever, but for our own interrupt, which `look` raises again."""
    if not (_state.noted is not None and issubclass(what.exc_type, KeyboardInterrupt)):
        sys.__unraisablehook__(what)
