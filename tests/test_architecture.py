"""The rules of docs/architecture.md, and the files that must stay in step."""

import ast
import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("foundation", "landscape", "training", "analyses", "benchmarks")
ALLOWED = {
    "foundation": {"foundation"},
    "training": {"foundation", "training"},
    "landscape": {"foundation", "landscape"},
    "analyses": set(PACKAGES),
    "benchmarks": set(PACKAGES),
}


def sources(package):
    return sorted((ROOT / package).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield node.module.split(".")[0]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_import_only_whom_they_may(package):
    for path in sources(package):
        ours = set(imported(path)) & set(PACKAGES)
        allowed = ALLOWED[package] | ({"training"} if path == ROOT / "landscape/files/checkpoint.py" else set())
        assert ours <= allowed, f"{path.relative_to(ROOT)} imports {ours - allowed}"


def test_the_numerics_never_touch_files_or_arguments():
    rooms = ("subject", "execution", "hessian/products", "hessian/estimators")
    paths = [path for room in rooms for path in (ROOT / "landscape" / room).rglob("*.py")]
    for path in [*paths, *(ROOT / "landscape").glob("*/measure*.py")]:
        assert not set(imported(path)) & {"argparse", "pathlib", "h5py"}, path
        calls = {n.func.id for n in ast.walk(ast.parse(path.read_text()))
                 if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}  # fmt: skip
        assert not calls & {"print", "open"}, path


def requirement(text):
    return tuple(re.fullmatch(r"([A-Za-z0-9-]+)(.*)", text.strip()).groups())


def test_environment_yml_is_in_step_with_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = {requirement(text) for text in project["dependencies"]}
    conda = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    listed = {requirement(text) for text in conda if isinstance(text, str)}
    listed |= {requirement(t) for part in conda if isinstance(part, dict) for t in part["pip"] if t[0] != "-"}
    named = {("torch" if name == "pytorch" else name, version) for name, version in listed}
    assert named - {("python", project["requires-python"]), ("pip", "")} == wanted


def test_constraints_pin_what_pyproject_asks_for():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *(r for extra in project["optional-dependencies"].values() for r in extra)]
    pins = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[:1] != "#"]
    assert {requirement(r)[0] for r in asked} - {pin.split("==")[0] for pin in pins} == set()
