import subprocess
import sys

import pytest

from foundation.command import Parser, run
from foundation.errors import InputError, LandscapeError
from tests.conftest import ROOT


def ending(main, argv=()):
    parser = Parser("package.command", "Does a thing.", "--count 3")
    parser.add_argument("--count", type=int, default=1, help="how many")
    with pytest.raises(SystemExit) as ended:
        run(main, parser, list(argv))
    return ended.value.code


def raising(error):
    def main(_):
        raise error

    return main


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("bad"), 2),
        (LandscapeError("failed"), 1),
        (KeyboardInterrupt(), 130),
        (OSError(28, "No space left on device", "/there"), 1),
        (MemoryError(), 1),
    ],
)
def test_each_ending_has_its_code_and_one_line(error, code, capsys):
    assert ending(raising(error)) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback" not in said


def test_success_is_zero():
    assert ending(lambda _: None) == 0


def test_a_bad_option_is_one_sentence_with_code_2(capsys):
    assert ending(lambda _: None, ["--count", "many"]) == 2
    said = capsys.readouterr().err
    assert "--count" in said and "many" in said and said.count("\n") == 1


def test_a_full_output_is_one_sentence_and_no_success():
    program = (
        "import sys; from foundation.command import Parser, run; sys.stdout = open('/dev/full', 'w'); "
        "run(lambda _: print('done'), Parser('x', 'Does.', ''), [])"
    )
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1 and "No space left" in ended.stderr, ended.stderr


def test_help_shows_defaults_and_an_example(capsys):
    assert ending(lambda _: None, ["--help"]) == 0
    shown = capsys.readouterr().out
    assert "(default: 1)" in shown and "python -m package.command --count 3" in shown


def test_help_says_a_default_once_and_none_where_there_is_none(capsys):
    made = Parser("landscape.report", "Writes.", "x")
    made.add_argument("--name", help="name (default: the split)")
    made.add_argument("--seed", type=int, default=0, help="seed")
    made.add_argument("--bare", help="nothing")
    made.add_argument("--quiet", action="store_true", help="says nothing")
    with pytest.raises(SystemExit):
        made.parse_args(["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert text.count("(default") == 2 and "name (default: the split)" in text and "seed (default: 0)" in text
    assert "None" not in text and "False" not in text


def test_a_lost_process_ends_the_command_at_once_and_says_so():
    """Nothing runs at the end of the interpreter, where threads of the lost run would abort it."""
    program = """
import atexit
from foundation.command import Parser, run
from foundation.errors import LostProcessError

def main(arguments):
    atexit.register(print, "an orderly end")
    print("so far", end="")
    raise LostProcessError("another process has ended")

run(main, Parser("x", "Does.", ""), [])
"""
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout) == (1, "so far")
    assert ended.stderr == "error: another process has ended\n"
