"""Who imports whom, read from the source: every statement, and every string that names a module of ours."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("foundation", "landscape", "training", "analyses", "benchmarks")
RUN, LATER, TYPED, NAMED = "run", "later", "typed", "named"


@dataclass(frozen=True)
class Import:
    """One module naming another.

    Attributes:
        source: The module that names, dotted.
        target: A module of ours, dotted, or the top-level name of another package.
        line: Where.
        kind: `RUN` when the module is loaded, `LATER` inside a function, `TYPED` under TYPE_CHECKING, `NAMED` in a
            string, as tables of lazy imports do.
    """

    source: str
    target: str
    line: int
    kind: str

    def __str__(self) -> str:
        return f"{self.source}:{self.line} names {self.target} ({self.kind})"


class ImportGraph:
    """The imports among modules.

    Args:
        sources: The text of each module by its dotted name; a package by its own name, without `__init__`.
        packages: Which of the names are packages.
    """

    def __init__(self, sources: dict[str, str], packages: set[str]) -> None:
        self.trees = {name: ast.parse(text) for name, text in sources.items()}
        self.packages = packages
        self.imports = {name: tuple(self._imports_of(name, tree)) for name, tree in self.trees.items()}

    def all(self) -> Iterator[Import]:
        """Every import, by module."""
        for imports in self.imports.values():
            yield from imports

    def reached(self, start: str) -> dict[str, str]:
        """What loading and using a module can load, ours and others', each with the chain of modules that leads there.

        Importing `a.b.c` runs `a` and `a.b` first: what these load at once counts, what they offer lazily does not.
        Types alone load nothing.
        """
        chains, queue = {start: start}, [(start, True)]
        used = {start}
        while queue:
            name, whole = queue.pop()
            kinds = {RUN, LATER, NAMED} if whole else {RUN}
            steps = [(i.target, True) for i in self.imports.get(name, ()) if i.kind in kinds]
            steps += [(parent, False) for parent in _parents(name) if parent in self.trees]
            for target, whole_target in steps:
                if target in used or (target in chains and not whole_target):
                    continue
                chains.setdefault(target, f"{chains[name]} → {target}")
                used |= {target} if whole_target else set()
                queue.append((target, whole_target))
        return chains

    def circles(self) -> list[list[str]]:
        """Sets of modules that import each other, types included (Tarjan's strongly connected components)."""
        number: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        found: list[list[str]] = []

        def visit(name: str) -> None:
            number[name] = low[name] = len(number)
            stack.append(name)
            for one in self.imports[name]:
                if one.kind == NAMED or one.target not in self.imports:
                    continue
                if one.target not in number:
                    visit(one.target)
                if one.target in stack:
                    low[name] = min(low[name], low[one.target])
            if low[name] == number[name]:
                at = stack.index(name)
                part, stack[at:] = stack[at:], []
                if len(part) > 1:
                    found.append(sorted(part))

        for name in self.imports:
            if name not in number:
                visit(name)
        return found

    def calls(self, name: str) -> set[str]:
        """The plain functions that a module calls by name, such as `print`."""
        calls = (node.func for node in ast.walk(self.trees[name]) if isinstance(node, ast.Call))
        return {function.id for function in calls if isinstance(function, ast.Name)}

    def _imports_of(self, name: str, tree: ast.Module) -> Iterator[Import]:
        for node, kind in _statements(tree, RUN):
            for target in self._targets(name, node):
                yield Import(name, target, node.lineno, NAMED if isinstance(node, ast.Constant) else kind)

    def _targets(self, name: str, node: ast.AST) -> Iterator[str]:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield self._module(alias.name)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                anchor = name.split(".") if name in self.packages else name.split(".")[:-1]
                base = ".".join([*anchor[: len(anchor) - node.level + 1], *([base] if base else [])])
            for alias in node.names:
                yield self._module(f"{base}.{alias.name}")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            dotted = node.value.partition(":")[0]  # entry points are written module:object
            if "." in dotted and dotted in self.trees and dotted != name:
                yield dotted

    def _module(self, dotted: str) -> str:
        """The module that a dotted name lies in."""
        name = dotted
        while name not in self.trees and "." in name:
            name = name.rpartition(".")[0]
        return name


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:n]) for n in range(1, len(parts))]


def _statements(node: ast.AST, kind: str) -> Iterator[tuple[ast.AST, str]]:
    """Every import statement and string constant below a node, with when it runs; docstrings are left out."""
    for field in ast.iter_child_nodes(node):
        inner = kind
        if isinstance(field, ast.Import | ast.ImportFrom | ast.Constant):
            yield field, kind
        elif isinstance(field, ast.Expr) and isinstance(field.value, ast.Constant):
            continue
        elif isinstance(field, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            inner = LATER if kind == RUN else kind
        elif isinstance(field, ast.If) and "TYPE_CHECKING" in ast.unparse(field.test):
            for part in field.body:
                yield from _statements(ast.Module([part], []), TYPED)
            for part in field.orelse:
                yield from _statements(ast.Module([part], []), kind)
            continue
        yield from _statements(field, inner)


def read_graph(root: Path = ROOT) -> ImportGraph:
    """The graph of the five packages under `root`."""
    sources, packages = {}, set()
    for package in PACKAGES:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            sources[name] = path.read_text(encoding="utf-8")
            if parts[-1] == "__init__":
                packages.add(name)
    return ImportGraph(sources, packages)
