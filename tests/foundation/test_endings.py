"""A signal at any moment ends a command by one sentence and its code; none is lost, no file is left half written."""

import signal
import subprocess
import sys
import textwrap

import pytest

from tests.conftest import ROOT

BEGIN = """
import os, signal, sys, weakref
signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores them
signal.signal(signal.SIGHUP, signal.SIG_DFL)
from pathlib import Path
from foundation import endings
from foundation.command import Parser, run
from foundation.files import replacing

def kill(number=signal.SIGTERM):
    os.kill(os.getpid(), number)

def command(main):
    endings.take_over()
    run(main, Parser("x", "Does.", ""), [])

"""
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129}


def ended(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + textwrap.dedent(program), *map(str, arguments)], cwd=ROOT, capture_output=True,
        text=True, check=False, timeout=60,
    )  # fmt: skip


def one_sentence(done: subprocess.CompletedProcess[str], number: signal.Signals) -> None:
    assert done.returncode == CODES[number], done.stderr
    assert done.stderr.count("\n") == 1 and number.name in done.stderr, done.stderr


@pytest.mark.parametrize("number", CODES)
def test_each_signal_has_its_code_and_one_sentence(number):
    one_sentence(ended("command(lambda _: kill(int(sys.argv[1])))", int(number)), number)


def test_a_signal_while_modules_are_loaded():
    one_sentence(ended("endings.take_over(); kill()"), signal.SIGTERM)


def test_a_signal_at_the_end_of_the_interpreter():
    done = ended("import atexit; atexit.register(kill); command(lambda _: None)")
    one_sentence(done, signal.SIGTERM)


def test_a_signal_that_a_callback_swallows_is_not_lost():
    program = """
    class Thing: pass
    def main(_):
        thing = Thing()
        reference = weakref.ref(thing, lambda _: kill())
        del thing
        print("went on")
    command(main)
    """
    done = ended(program)
    assert done.stdout == "went on\n"
    one_sentence(done, signal.SIGTERM)


def test_a_swallowed_signal_ends_the_work_at_its_next_step():
    program = """
    from foundation.progress import Progress
    def main(_):
        with Progress("work", 3, "step", quiet=True) as progress:
            try:
                kill()
            except KeyboardInterrupt:
                pass
            progress.advance()
            print("went on")
    command(main)
    """
    done = ended(program)
    assert done.stdout == ""
    one_sentence(done, signal.SIGTERM)


def test_what_an_interrupt_becomes_in_a_library_is_still_one_sentence():
    program = """
    def main(_):
        try:
            kill()
        except KeyboardInterrupt:
            raise RuntimeError("a callback failed")
    command(main)
    """
    one_sentence(ended(program), signal.SIGTERM)


def test_a_file_that_is_being_written_is_written_to_its_end(tmp_path):
    program = """
    def main(_):
        with replacing(Path(sys.argv[1])) as temporary:
            kill()
            temporary.write_text("whole")
        print("not reached")
    command(main)
    """
    done = ended(program, tmp_path / "file")
    one_sentence(done, signal.SIGTERM)
    assert done.stdout == "" and [p.name for p in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_text() == "whole"


def test_a_second_signal_ends_at_once():
    program = """
    def main(_):
        with endings.uninterrupted():
            kill()
            kill(signal.SIGINT)
            print("not reached", flush=True)
    command(main)
    """
    done = ended(program)
    assert done.stdout == ""
    one_sentence(done, signal.SIGINT)


def test_a_signal_that_is_ignored_from_outside_stays_ignored():
    done = ended("""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command(lambda _: (kill(signal.SIGHUP), print("went on")))
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "went on\n", "")


def test_a_program_that_calls_a_command_gets_its_handlers_back():
    program = """
    before = signal.getsignal(signal.SIGINT), sys.unraisablehook
    try:
        run(lambda _: kill(), Parser("x", "Does.", ""), [])
    except SystemExit as ended:
        assert ended.code == 143
    assert (signal.getsignal(signal.SIGINT), sys.unraisablehook) == before and endings.asked() is None
    """
    one = ended(program)
    assert one.returncode == 0 and one.stderr.count("\n") == 1, one.stderr


def test_a_study_ends_with_its_step_and_says_it_once():
    program = """
    def step(_):
        try:
            run(lambda _: kill(), Parser("y", "Does.", ""), [])
        except SystemExit as ended:
            sys.exit(ended.code)
    command(step)
    """
    one_sentence(ended(program), signal.SIGTERM)


@pytest.mark.parametrize("module", ["landscape.report", "training.run"])
def test_a_command_is_ready_for_signals_before_it_loads_its_libraries(module):
    """The name of the second import is asked of the interpreter: signals sent there end by the sentence."""
    program = f"""
    import builtins, runpy
    original = builtins.__import__
    def importing(name, *arguments, **options):
        if name in ("numpy", "torch"):
            kill(signal.SIGINT)
        return original(name, *arguments, **options)
    for name in [n for n in sys.modules if n.startswith("foundation")]:
        del sys.modules[name]
    builtins.__import__ = importing
    sys.orig_argv, sys.argv = [sys.executable, "-m", "{module}"], ["-m"]
    __import__("{module.split(".")[0]}")
    sys.argv = ["{module}"]
    runpy.run_module("{module}", run_name="__main__")
    """
    one_sentence(ended(program), signal.SIGINT)
