"""What is installed: the wheel, its metadata, and the files that must stay in step."""

import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib import metadata

import pytest
import yaml

from tests.import_graph import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {"foundation", "landscape", "training", "analyses"}


def requirement(text):
    return tuple(re.fullmatch(r"([A-Za-z0-9-]+)(.*)", text.strip()).groups())


def test_environment_yml_is_in_step_with_pyproject():
    wanted = {requirement(text) for text in PROJECT["dependencies"]}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = {requirement(text) for text in conda if isinstance(text, str)}
    listed |= {requirement(t) for part in conda if isinstance(part, dict) for t in part["pip"] if t[0] != "-"}
    named = {("torch" if name == "pytorch" else name, version) for name, version in listed}
    assert named - {("python", PROJECT["requires-python"]), ("pip", "")} == wanted


def test_constraints_pin_what_pyproject_asks_for():
    asked = [*PROJECT["dependencies"], *(r for extra in PROJECT["optional-dependencies"].values() for r in extra)]
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    assert {requirement(r)[0] for r in asked} - {pin.split("==")[0] for pin in pins} == set()
    assert [pin.split("==")[0] for pin in pins] == sorted(pin.split("==")[0] for pin in pins)


def test_citation_and_metadata_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert (str(citation["version"]), citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert [author["name"] for author in citation["authors"]] == [author["name"] for author in PROJECT["authors"]]


def test_the_changelog_keeps_its_form():
    text = (ROOT / "CHANGELOG.md").read_text()
    first, *versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert first == "[Unreleased]"
    assert all(re.fullmatch(r"\[\d+\.\d+\.\d+\] - \d{4}-\d\d-\d\d", version) for version in versions)
    kinds = re.findall(r"^### (.*)$", text, re.MULTILINE)
    assert set(kinds) <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_continuous_integration_runs_what_a_desk_runs():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    made = {step["run"] for job in jobs.values() for step in job["steps"] if step.get("run", "").startswith("make")}
    assert made == {"make lint", "make test", "make test-all"} and {run.split()[1] for run in made} <= targets
    versions = jobs["test"]["strategy"]["matrix"]["python"]
    assert versions == [c.rpartition(" ")[2] for c in PROJECT["classifiers"] if re.search(r":: 3\.\d+$", c)]
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert {hook["entry"].split()[0] for hook in hooks} <= {".venv/bin/ruff", ".venv/bin/mypy", "make"}
    assert {hook["entry"].split()[1] for hook in hooks if hook["entry"].startswith("make")} <= targets


def test_every_package_is_typed():
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").read_bytes() == b""


def call(*command, cwd):
    done = subprocess.run([*map(str, command)], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_the_wheel_works_outside_the_checkout(tmp_path):
    source, elsewhere, home = tmp_path / "source", tmp_path / "elsewhere", tmp_path / "venv"
    shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(".*", "build", "runs", "*.egg-info", "__pycache__"))
    elsewhere.mkdir()
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check")
    call(*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, source, cwd=elsewhere)
    (wheel,) = tmp_path.glob("*.whl")
    venv.create(home, with_pip=False)
    python = home / "bin/python"
    call(*pip, "--python", python, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=elsewhere)
    # The dependencies are those of this environment; a path alone brings no editable installation with it.
    (place,) = (home / "lib").glob("python*/site-packages")
    (place / "dependencies.pth").write_text(sysconfig.get_path("purelib"))

    files = call(*pip, "--python", python, "show", "--files", "longtail-landscape", cwd=elsewhere)
    listed = [line.strip() for line in files.partition("Files:")[2].split()]
    tops = {name.split("/")[0] for name in listed if not name.startswith("..")}
    assert tops == PACKAGES | {f"longtail_landscape-{PROJECT['version']}.dist-info"}
    for wanted in (
        "landscape/py.typed",
        "landscape/report/page/report.css",
        "training/data/sources/fashion_mini.npz",
        "training/recipes/fashion-mini/bgp.yaml",
    ):
        assert wanted in listed
    written = {str(path.relative_to(source)) for package in PACKAGES for path in (source / package).rglob("*.*")}
    assert {name for name in written if name.split("/")[0] in PACKAGES and "." in name} - set(listed) == set()

    landscape = home / "bin/landscape"
    version = metadata.version("longtail-landscape")
    assert call(landscape, "--version", cwd=elsewhere) == f"longtail-landscape {version}\n"
    where = call(
        python, "-c", "import landscape, training; print(landscape.__file__, training.__file__)", cwd=elsewhere
    )
    assert all(str(home) in path for path in where.split())
    call(python, "-m", "training.run", "--data", "digits", "--imbalance", 20, "--model", "cnn", "--epochs", 1,
         "--seed", 0, "--device", "cpu", "--out", "run", cwd=elsewhere)  # fmt: skip
    measured = ("--ckpt", "run/checkpoint.pt", "--subsets", "class:9", "--device", "cpu")
    call(landscape, "hessian", *measured, "--top", 1, cwd=elsewhere)
    call(landscape, "sharpness", *measured, cwd=elsewhere)
    call(landscape, "report", "run/landscape.h5", "--out", "report.html", cwd=elsewhere)
    assert (elsewhere / "report.html").stat().st_size > 1e6
