"""The public names: listed once for running and once for type checkers, and each of them there."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import landscape


def stubs() -> dict[str, str]:
    """Names that type checkers see, with the modules they come from."""
    tree = ast.parse(Path(landscape.__file__).read_text())
    (block,) = [n for n in tree.body if isinstance(n, ast.If) and ast.unparse(n.test) == "TYPE_CHECKING"]
    return {
        alias.asname: node.module for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_both_lists_of_public_names_agree():
    assert stubs() == landscape._HOMES
    assert landscape.__all__ == sorted(landscape._HOMES)


def test_every_public_name_is_there_and_says_what_it_is():
    for name in landscape.__all__:
        assert getattr(landscape, name).__doc__
    assert landscape.__version__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        landscape.nothing  # noqa: B018


def test_importing_the_package_loads_no_library():
    code = "import sys, landscape; print(sorted({'torch', 'h5py', 'numpy', 'plotly'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
