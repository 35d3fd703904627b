"""Shared by all tests: ways to run a command as a user does, and one small trained run made once."""

import contextlib
import importlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from foundation import endings

# Before PyTorch is loaded: the tests run in processes side by side, and where one asks for threads, those that wait
# must not spin on the cores of others (two networks of the zoo on a busy machine: 15 s of processor time, not 70).
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

ROOT = Path(__file__).resolve().parent.parent
SMALL = ("--data", "digits", "--imbalance", "20", "--model", "cnn", "--model-kwargs", "widths=[8,16,32]")
SMALL += ("--epochs", "3", "--seed", "0", "--device", "cpu")


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run_command(module: str, *arguments: object, check: bool = True) -> Ended:
    """Runs `python -m module arguments…` inside this process: importing torch anew takes seconds."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
        _main_of(module)([str(argument) for argument in arguments])
    done = Ended(int(ended.value.code or 0), out.getvalue(), err.getvalue())
    assert not check or done.returncode == 0, done.stderr
    return done


def _main_of(module: str) -> Callable[[list[str]], None]:
    """What `python -m module` runs; a package runs by its `__main__`."""
    command = importlib.import_module(module)
    if hasattr(command, "__path__"):
        command = importlib.import_module(f"{module}.__main__")
    main: Callable[[list[str]], None] = command.main
    return main


def run_process(module: str, *arguments: object, check: bool = True) -> Ended:
    """Runs `python -m module arguments…` as its own process, for what kills it."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert not check or done.returncode == 0, done.stderr
    return Ended(done.returncode, done.stdout, done.stderr)


@pytest.fixture(autouse=True)
def answers_to_signals() -> Iterator[None]:
    """A command called inside a test leaves the process's answers to signals, and no signal noted, to the next test."""
    before, hook = {number: signal.getsignal(number) for number in endings.SIGNALS}, sys.unraisablehook
    yield
    for number, handler in before.items():
        signal.signal(number, handler)
    sys.unraisablehook, endings._state = hook, endings._State()


@pytest.fixture(scope="session")
def small_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder: three epochs of the small network on scikit-learn's digits."""
    out = tmp_path_factory.mktemp("runs") / "ce"
    run_command("training.run", *SMALL, "--method", "ce", "--out", out)
    return out
