"""Every example runs as it stands, in a folder of its own, and begins as a gallery shows it."""

import ast
import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = sorted((Path(__file__).resolve().parent.parent / "examples").glob("*.py"))
NUMBERS = re.compile(r"\d")


DEAR = ("resnet18",)  # 13 s of a core; the others take one or two


@pytest.mark.parametrize(
    "path", [pytest.param(p, id=p.stem, marks=[pytest.mark.exhaustive] * (p.stem in DEAR)) for p in EXAMPLES]
)
def test_an_example_runs(path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    try:
        runpy.run_path(str(path), run_name="__main__")
    except SystemExit as ended:
        assert not ended.code
    said = capsys.readouterr().out
    assert "nan" not in said and (NUMBERS.search(said) or path.stem == "refused")
    if path.stem == "refused":
        assert "mixes the samples of a batch" in said
    if path.stem == "own_checkpoint":  # a command that fails exits too
        assert "written to own.h5" in said


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_short_and_has_a_title(path):
    text = path.read_text(encoding="utf-8")
    title, blank, paragraph, *_ = (ast.get_docstring(ast.parse(text)) or "").splitlines()
    assert title.endswith(".") and not blank and paragraph
    assert len(text.splitlines()) <= 40


def test_there_are_examples():
    assert len(EXAMPLES) >= 12
