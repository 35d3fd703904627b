"""The console script `landscape`, and packages of other people that bear our names."""

import os
import subprocess
import sys
import tomllib
from importlib import metadata

import pytest

from foundation.errors import ForeignPackageError
from foundation.packages import require_own
from landscape.__main__ import COMMANDS, main
from tests.conftest import ROOT, SMALL, run_command

OWN = {"check", "verify", "selftest"}  # no room of their own: `landscape.check` and so on are the functions


def said(capsys, *argv):
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in argv])
    return ended.value.code, *capsys.readouterr()


def test_help_lists_every_command(capsys):
    code, out, err = said(capsys, "--help")
    assert (code, err) == (0, "")
    assert all(f"  {name} " in out for name in COMMANDS)
    rooms = {path.parent.name for path in (ROOT / "landscape").glob("*/__main__.py")}
    assert set(COMMANDS) == rooms | OWN


def test_version_is_the_installed_one(capsys):
    assert said(capsys, "--version")[:2] == (0, f"longtail-landscape {metadata.version('longtail-landscape')}\n")


def test_the_console_script_runs_what_python_m_runs(monkeypatch, capsys):
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    script = metadata.EntryPoint("landscape", scripts["landscape"], "console_scripts").load()
    monkeypatch.setattr("sys.argv", ["/at/bin/landscape", "--version"])
    with pytest.raises(SystemExit) as ended:
        script()
    assert ended.value.code == 0 and capsys.readouterr().out.startswith("longtail-landscape ")


@pytest.mark.parametrize(
    ("argv", "sentence"),
    [
        ((), "unknown command '': choose one of check, figures, hessian, "),
        (("hesian", "--help"), "unknown command 'hesian' (did you mean hessian?): choose one of "),
        (("--verbose",), "unknown command '--verbose': choose one of "),
        (("notebook",), "unknown command 'notebook': choose one of "),
    ],
)
def test_an_unknown_command_is_one_sentence(capsys, argv, sentence):
    code, out, err = said(capsys, *argv)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {sentence}")


@pytest.mark.parametrize("command", sorted(set(COMMANDS) - OWN))
def test_a_command_ends_as_it_does_by_python_m(capsys, command, tmp_path):
    asked = ("--ckpt", tmp_path / "no.pt") if command in {"hessian", "sharpness", "surface"} else (tmp_path / "no.h5",)
    code, out, err = said(capsys, command, *asked)
    direct = run_command(f"landscape.{command}", *asked, check=False)
    assert (code, out, err) == (direct.returncode, direct.stdout, direct.stderr)
    assert code == 2 and "no." in err


def test_only_the_command_asked_for_is_imported():
    text = (
        "import sys; sys.argv = ['/somewhere/bin/landscape', *sys.argv[1:]]\n"
        "import atexit; atexit.register(lambda: print(*sys.modules))\n"
        "from foundation.console import landscape; landscape()\n"
    )

    def loaded(*argv):
        done = subprocess.run([sys.executable, "-c", text, *argv], cwd=ROOT, capture_output=True, text=True, check=True)
        return done.stdout, set(done.stdout.split())

    assert not loaded("--version")[1] & {"torch", "numpy", "h5py"}
    out, modules = loaded("sharpness", "--help")
    assert "usage: landscape sharpness " in out and "example: landscape sharpness " in out
    assert "landscape.sharpness.__main__" in modules
    assert not modules & {"landscape.surface.__main__", "landscape.hessian.__main__", "matplotlib", "plotly"}


def fake(folder, name, form):
    """Another package of one of our names."""
    if form == "module":
        (folder / f"{name}.py").write_text("")
    else:
        (folder / name).mkdir()
        if form == "package":
            (folder / name / "__init__.py").write_text("")


CONSOLE = ("-c", "from foundation.console import landscape; landscape()", "hessian")


def beside(folder, *command):
    """Runs Python with `folder` before ours on the path."""
    path = os.pathsep.join([str(folder), str(ROOT)])
    return subprocess.run([sys.executable, *map(str, command)], cwd=folder, env={**os.environ, "PYTHONPATH": path},
                          capture_output=True, text=True, check=False)  # fmt: skip


@pytest.mark.parametrize("form", ["module", "package"])
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("foundation", ("-m", "landscape.hessian", "--help")),
        ("foundation", ("-m", "landscape", "--version")),
        ("foundation", ("-m", "training.run", "--help")),
        ("foundation", ("-m", "analyses.quickstart", "--help")),
        ("landscape", ("-m", "analyses.quickstart", "--help")),
        ("training", ("-m", "analyses.quickstart", "--help")),
        ("landscape", CONSOLE),
    ],
)
def test_a_foreign_package_in_the_way_is_one_sentence(tmp_path, name, command, form):
    fake(tmp_path, name, form)
    done = beside(tmp_path, *command)
    assert done.returncode in {1, 2} and done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    assert done.stderr.startswith(f"error: another package named {name!r} ({tmp_path}"), done.stderr


def test_a_foreign_training_is_met_when_a_checkpoint_is_opened(tmp_path, small_run):
    fake(tmp_path, "training", "package")
    text = (
        "import contextlib, sys\n"
        "from landscape.sharpness.__main__ import main\n"
        "with contextlib.suppress(SystemExit):\n    main(['--help'])\n"
        "main(sys.argv[1:])\n"
    )
    done = beside(tmp_path, "-c", text, "--ckpt", small_run / "checkpoint.pt")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert done.stderr.startswith("error: another package named 'training'") and "usage:" in done.stdout


def test_a_program_gets_an_exception(tmp_path):
    fake(tmp_path, "foundation", "package")
    text = "try:\n    import landscape\nexcept ImportError as error:\n    print(error)"
    assert beside(tmp_path, "-c", text).stdout.startswith("another package named 'foundation'")


def test_a_mere_folder_of_the_same_name_is_no_package(tmp_path):
    for name in ("foundation", "landscape", "training", "analyses"):
        fake(tmp_path, name, "folder")
    done = beside(tmp_path, "-m", "training.run", *SMALL[:-2], "--epochs", "nothing")
    assert done.returncode == 2 and "nothing" in done.stderr
    assert beside(tmp_path, *CONSOLE[:2], "--version").stdout.startswith("longtail-landscape ")


def test_a_missing_package_is_named():
    require_own("landscape", "training", "foundation", "analyses")
    with pytest.raises(ForeignPackageError, match="'no_such_package' of longtail-landscape is missing"):
        require_own("no_such_package")
