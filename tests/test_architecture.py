"""The house's order: who may know whom. docs/architecture.md shows it; these tests hold it."""

import ast
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.import_graph import LATER, NAMED, PACKAGES, ROOT, RUN, TYPED, ImportGraph, read_graph

# From the ground up. A module may know its own room and every room of a lower line; rooms of one line do not know each
# other. Commands (`__main__`) know everything of their package and are known by nobody but who runs commands.
ORDER = (
    ("foundation",),
    ("landscape.schema",),
    ("landscape.conversion",),
    ("landscape.ranks",),
    ("landscape.subject",),
    ("landscape.execution", "landscape.files"),
    ("landscape.evaluation",),
    ("landscape.hessian", "landscape.sharpness", "landscape.comparison"),
    ("landscape.surface",),
    ("landscape.recording",),
    ("landscape.verification",),
    ("landscape.report", "landscape.figures", "landscape.notebook"),
    ("landscape",),
)
WITHIN = {  # the same, inside a package
    "landscape.hessian": (("products",), ("estimators",), ("",)),
    "training": (("registry", "distributed"), ("models", "data"), ("methods",), ("batches",), ("",)),
}
PACKAGE_MAY_KNOW = {
    "foundation": {"foundation"},
    "training": {"foundation", "training"},
    "landscape": {"foundation", "landscape"},
    "analyses": {"foundation", "training", "landscape", "analyses"},
    "benchmarks": set(PACKAGES),
}
ANALYSES = ("evaluation", "hessian", "sharpness", "surface")
NUMERICS = ("landscape.schema", "landscape.subject", "landscape.execution", "landscape.hessian.products",
            "landscape.hessian.estimators")  # fmt: skip
NEVER_BELOW = {"argparse", "h5py", "plotly", "matplotlib", "jinja2", "training"}

PYTHON = [path for package in (*PACKAGES, "tests") for path in sorted((ROOT / package).rglob("*.py"))]
PYTHON += sorted((ROOT / "docs").glob("*.py"))  # not what the site is made of below it

# What does not hold yet, and why. Each line must still be needed; the aim is none.
EXCEPTIONS: dict[str, str] = {
    "training.search → analyses.search": "the former command, for one release",
    "training.run → landscape.recording.training_run": "the plug-in that --track means when it names none",
}


def runs(module: str) -> bool:
    return module.endswith(".__main__")


def lies_in(module: str, room: str) -> bool:
    return module == room or module.startswith(f"{room}.")


def line_of(module: str, order: tuple[tuple[str, ...], ...], base: str) -> tuple[int, str]:
    """The line and the room of a module: of the rooms that it lies in, the innermost."""
    rooms = [(line, f"{base}.{room}".strip(".")) for line, rooms in enumerate(order) for room in rooms]
    return max(((line, room) for line, room in rooms if lies_in(module, room)), key=lambda found: len(found[1]))


def points_down(source: str, target: str) -> bool:
    """Whether a module may know another by the order of rooms."""
    for base, order in {"": ORDER, **WITHIN}.items():
        if base and not (lies_in(source, base) and lies_in(target, base)):
            continue
        if not base and {source.split(".")[0], target.split(".")[0]} - {"landscape", "foundation"}:
            continue
        (from_line, from_room), (to_line, to_room) = (line_of(module, order, base) for module in (source, target))
        if not (from_room == to_room or to_line < from_line or runs(source)):
            return False
    return True


def opens_checkpoints(module: str) -> bool:
    return lies_in(module, "landscape.files") and "checkpoint" in module


def upward(graph: ImportGraph) -> Iterator[str]:
    """Imports between packages or rooms that do not point down."""
    for one in graph.all():
        package, target = one.source.split(".")[0], one.target.split(".")[0]
        names_itself = one.kind == NAMED and runs(one.source) and one.source == f"{one.target}.__main__"
        if target not in PACKAGES or names_itself or (target == "training" and opens_checkpoints(one.source)):
            continue
        known_by_nobody = runs(one.target) and one.source != "landscape.__main__"
        if target not in PACKAGE_MAY_KNOW[package] or known_by_nobody or not points_down(one.source, one.target):
            yield f"{one.source} → {one.target}"


def early_training(graph: ImportGraph) -> Iterator[str]:
    """Whoever opens training's checkpoints must load `training` only then."""
    for one in graph.all():
        if one.source.startswith("landscape") and lies_in(one.target, "training") and one.kind not in {LATER, TYPED}:
            yield f"{one.source} loads {one.target}"


def files_from_numerics(graph: ImportGraph) -> Iterator[str]:
    """In a room of an analysis only the command and its record know files."""
    for one in graph.all():
        room, _, name = one.source.removeprefix("landscape.").partition(".")
        if room in ANALYSES and lies_in(one.target, "landscape.files") and not name.startswith(("__main__", "record")):
            yield f"{one.source} → {one.target}"


def numerics(graph: ImportGraph) -> list[str]:
    rooms = [name for name in graph.trees if any(lies_in(name, room) for room in NUMERICS)]
    measures = [name for name in graph.trees if name.startswith("landscape.") and "measure" in name.split(".")[-1]]
    return sorted({*rooms, *(m for m in measures if m.split(".")[1] in ANALYSES)})


def impure_numerics(graph: ImportGraph) -> Iterator[str]:
    """What numerics reach, however far away, that is no numerics."""
    for name in numerics(graph):
        chains = graph.reached(name)
        for target, chain in chains.items():
            if target in NEVER_BELOW or lies_in(target, "landscape.files"):
                yield chain
            elif lies_in(target, "landscape") and graph.calls(target) & {"print", "open", "input"}:
                yield f"{chain} prints or opens"
        if any(one.target == "pathlib" for one in graph.imports[name]):
            yield f"{name} → pathlib"


def schema_knows(graph: ImportGraph) -> Iterator[str]:
    """The schema imports nothing of ours, and no library."""
    for one in graph.imports.get("landscape.schema", ()):
        if one.target in graph.trees or one.target not in sys.stdlib_module_names:
            yield f"landscape.schema → {one.target}"


def circular(graph: ImportGraph) -> Iterator[str]:
    yield from (" ↔ ".join(circle) for circle in graph.circles())


def sizes(graph: ImportGraph) -> Iterator[str]:
    """No file of more than 400 lines, no folder of more than 14 modules beside `__init__`."""
    for path in PYTHON:
        if len(path.read_text(encoding="utf-8").splitlines()) > 400:
            yield f"{path.relative_to(ROOT)} is long"
    for folder in {path.parent for path in PYTHON}:
        if len([path for path in folder.glob("*.py") if path.name != "__init__.py"]) > 14:
            yield f"{folder.relative_to(ROOT)} is crowded"


def twins(graph: ImportGraph) -> Iterator[str]:
    """No two modules of a folder differ by an s alone, none stands beside a folder of its name."""
    for folder in {path.parent for path in PYTHON}:
        names = [path.stem for path in folder.glob("*.py")]
        names += [path.name for path in folder.iterdir() if path.is_dir() and list(path.glob("*.*"))]
        for name in set(names):
            if f"{name}s" in names:
                yield f"{folder.relative_to(ROOT)}: {name} and {name}s"
            if names.count(name) > 1:
                yield f"{folder.relative_to(ROOT)}: {name} twice"


RULES = (upward, early_training, files_from_numerics, impure_numerics, schema_knows, circular, sizes, twins)


@pytest.fixture(scope="module")
def graph():
    return read_graph()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_arrows_only_go_down(graph, rule):
    found = set(rule(graph))
    assert found - set(EXCEPTIONS) == set(), rule.__doc__


def test_every_exception_is_still_needed(graph):
    assert set(EXCEPTIONS) - {found for rule in RULES for found in rule(graph)} == set()


def test_every_module_has_a_room(graph):
    assert len(graph.trees) > 150 and len(numerics(graph)) > 30
    for name in graph.trees:
        if lies_in(name, "landscape"):
            _, room = line_of(name, ORDER, "")
            assert room != "landscape" or name in {"landscape", "landscape.__main__"}, f"{name} has no room in ORDER"


@pytest.mark.parametrize(
    ("rule", "changed"),
    [
        (upward, {"landscape.execution.a": "from landscape.hessian import b"}),
        (upward, {"landscape.hessian.products.a": "def f():\n    from landscape.hessian.estimators import b"}),
        (upward, {"landscape.sharpness.a": "import landscape.hessian.b"}),
        (upward, {"landscape.files.a": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import landscape"}),
        (upward, {"landscape.subject.a": "HOMES = {'x': 'landscape.report.b'}"}),
        (upward, {"foundation.a": "import training.b"}),
        (upward, {"landscape.files.a": "import training.b"}),
        (upward, {"training.models.a": "import landscape.b"}),
        (upward, {"training.models.a": "from .. import trainer"}),
        (upward, {"landscape.report.a": "import landscape.report.__main__"}),
        (early_training, {"landscape.files.checkpoint": "from training.b import c"}),
        (files_from_numerics, {"landscape.surface.plane_kinds": "def f():\n    import landscape.files.b"}),
        (impure_numerics, {"landscape.hessian.measure": "from landscape.subject import b",
                           "landscape.subject.b": "def f():\n    import h5py"}),
        (impure_numerics, {"landscape.execution.a": "from landscape.subject import b",
                           "landscape.subject": "import landscape.files.c"}),
        (impure_numerics, {"landscape.subject.a": "def f():\n    print(1)"}),
        (schema_knows, {"landscape.schema": "import numpy"}),
        (circular, {"training.b": "import training.c", "training.c": "def f():\n    import training.b"}),
    ],
)  # fmt: skip
def test_a_turned_arrow_is_found(rule, changed):
    rooms = ("subject", "execution", "files", "hessian", "hessian.products", "hessian.estimators", "sharpness",
             "surface", "report")  # fmt: skip
    packages = ["foundation", "training", "training.models", "landscape", *(f"landscape.{room}" for room in rooms)]
    plain = dict.fromkeys([*packages, *(f"{name}.b" for name in packages), "landscape.schema", "training.trainer",
                           "landscape.files.c", "landscape.report.__main__"], "")  # fmt: skip
    assert not list(rule(ImportGraph(plain, set(packages))))
    assert list(rule(ImportGraph({**plain, **changed}, set(packages))))


def test_what_is_only_typed_or_offered_lazily_is_not_loaded():
    sources = {
        "landscape": "HOMES = {'x': 'landscape.files'}",
        "landscape.files": "import h5py",
        "landscape.subject": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import matplotlib",
    }
    graph = ImportGraph(sources, {"landscape"})
    assert "h5py" not in graph.reached("landscape.subject")
    assert "matplotlib" not in graph.reached("landscape.subject")
    assert graph.reached("landscape")["h5py"] == "landscape → landscape.files → h5py"
    assert {one.kind for one in graph.all()} == {NAMED, RUN, TYPED}


def test_the_measuring_commands_load_nothing_that_draws():
    """All of them in one fresh process: what each alone would load is among it."""
    text = (
        "import contextlib, importlib, sys\n"
        f"for name in {ANALYSES[1:]!r}:\n"
        "    with contextlib.suppress(SystemExit):\n"
        "        importlib.import_module(f'landscape.{name}.__main__').main(['--help'])\n"
        "print(sorted(sys.modules), file=sys.stderr)\n"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(ast.literal_eval(done.stderr))
    assert "torch" in loaded and done.stdout.count("usage:") == len(ANALYSES[1:])
    assert not loaded & {"plotly", "matplotlib", "jinja2", "landscape.report", "landscape.figures"}


def test_the_numerics_load_neither_hdf5_nor_statistics_nor_the_compiler(graph):
    """All of them in one fresh process: what each alone would load is among it; the last two take 2 to 3 s each."""
    text = (
        "import importlib, sys\n"
        f"for name in {numerics(graph)!r}:\n"
        "    importlib.import_module(name)\n"
        "    loaded = {'h5py', 'plotly', 'matplotlib', 'jinja2', 'scipy.stats'} & set(sys.modules)\n"
        "    assert not loaded, (name, loaded)\n"
        "import torch, landscape\n"
        "samples = landscape.TensorSamples(torch.randn(24, 5), torch.arange(24) % 2)\n"
        "network = torch.nn.Sequential(torch.nn.Linear(5, 3), torch.nn.GELU(), torch.nn.Linear(3, 2))\n"
        "landscape.measure_hessian(landscape.Subject(network, samples, train_counts=[12, 12]))\n"
        "assert 'torch._dynamo' not in sys.modules\n"
        "print(len(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", text], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 500
