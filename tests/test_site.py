"""What the site promises: every public name, command, option and setting is in the reference; the tutorial runs."""

import argparse
import importlib.util
import itertools
import re
import shlex
import shutil
from pathlib import Path

import matplotlib.image
import pytest
import torch

import landscape
from landscape.__main__ import COMMANDS
from tests.conftest import SMALL, run_command
from training.methods.registry import KINDS

DOCS = Path(__file__).resolve().parent.parent / "docs"


def load(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def site():
    return load("reference_pages")


def test_every_public_name_is_documented_once(site):
    named = [name for names in site.API.values() for name in names]
    assert sorted(named) == landscape.__all__
    page = site.api_page()
    assert sorted(re.findall(r"^\.\. auto(?:class|function):: landscape\.(\w+)$", page, re.MULTILINE)) == sorted(named)


def test_every_command_and_each_of_its_options_are_listed(site):
    page, parsers = site.commands_page(), site.parsers()
    assert set(parsers) == {f"landscape {name}" for name in COMMANDS} | {"python -m training.run"}
    for name, parser in parsers.items():
        section = page.partition(f"## `{name}`\n")[2].partition("\n## ")[0]
        assert parser.description in section
        for action in parser._actions:
            for option in action.option_strings:
                hidden = action.help == argparse.SUPPRESS or option in {"-h", "--help"}
                assert (f"`{option}`" in section) != hidden, f"{name} {option}"


def test_studies_are_listed_with_their_options(site):
    page = site.commands_page()
    for name in site.STUDIES:
        section = page.partition(f"## `python -m {name}`\n")[2].partition("\n## ")[0]
        assert f"usage: python -m {name}" in section and "--out" in section
    analyses = {
        f"analyses.{path.stem}" for path in (DOCS.parent / "analyses").glob("*.py") if "Parser(" in path.read_text()
    }
    assert set(site.STUDIES) == analyses


def test_every_part_of_a_method_is_listed_with_its_settings(site):
    page = site.methods_page()
    for parts in KINDS.values():
        for name, part in parts.items():
            (row,) = [
                line for line in page.splitlines() if line.startswith(f"| `{name}` |") and part.about[:20] in line
            ]
            assert all(f"`{key}={value}`" in row for key, value in part.defaults.items())


def test_every_key_of_a_checkpoint_is_listed(site):
    page = site.checkpoint_page()
    for key in ("format", "state_dict", "class_counts", "sha256", "batch_size"):
        assert f"| `{key}` |" in page
    assert set(site.Content.model_fields) <= set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def test_no_table_is_broken_by_what_stands_in_it(site):
    for page in site.PAGES:
        for table in re.findall(r"(?:^\|.*\n)+", site.PAGES[page](), re.MULTILINE):
            bars = {len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}
            assert len(bars) == 1, table


def test_the_gallery_shows_each_example_as_it_is(site):
    folder = DOCS.parent / "examples"
    sources = site.gallery_sources(folder)
    assert set(sources) == {path.name for path in folder.glob("*.py")} | {"README.txt"}
    for path in folder.glob("*.py"):
        title, line = sources[path.name].splitlines()[:2]
        assert line == "=" * len(title.removeprefix('"""'))
        assert sources[path.name].partition('"""\n\n')[2].endswith(path.read_text().partition('"""\n\n')[2])


def test_an_example_is_shown_by_what_it_measured_and_leaves_nothing(tmp_path, monkeypatch):
    """A file that it wrote, else its subject; a page goes beside the site; a network that is refused has no picture."""
    scraper = load("gallery_scraper")
    monkeypatch.setattr(scraper, "PAGES", tmp_path / "pages")
    folder = tmp_path / "examples"
    folder.mkdir()
    scraper.PAGES.mkdir()
    (folder / "graphs.py").write_text("")
    inputs, labels = torch.randn(12, 3), torch.arange(12) % 2

    def shown(number, **variables):
        names = iter([tmp_path / f"picture_{number}.png"])
        found = {"src_file": str(folder / "graphs.py"), "example_globals": variables, "image_path_iterator": names}
        return scraper.scrape(None, found, {"src_dir": str(tmp_path)})

    def pixels(number):
        return matplotlib.image.imread(tmp_path / f"picture_{number}.png")

    mine = landscape.Subject(torch.nn.Linear(3, 2), (inputs, labels))
    assert "picture_1.png" in shown(1, subject=mine) and pixels(1)[..., :3].std() > 0.05
    landscape.measure(mine, folder / "own.h5")  # loss and accuracy alone
    (folder / "report.html").write_text("a page")
    text = shown(2)
    assert "picture_2.png" in text and "../../pages/graphs.html" in text and pixels(2).shape != pixels(1).shape
    assert (tmp_path / "pages" / "graphs.html").read_text() == "a page"
    refused = landscape.Subject(torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Softmax(0)), (inputs, labels))
    assert "picture" not in shown(3, subject=refused)
    assert [path.name for path in folder.iterdir()] == ["graphs.py"]


def run_tutorial(folder, monkeypatch, blocks):
    found = re.findall(r"```python\n(.*?)```", (DOCS / "tutorial.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    scope = {}
    for block in found[blocks]:
        exec(block, scope)


def test_the_tutorial_runs_word_for_word_up_to_its_first_number(tmp_path, monkeypatch, capsys):
    run_tutorial(tmp_path, monkeypatch, slice(3))
    values = dict(line.split() for line in capsys.readouterr().out.splitlines())
    assert float(values["class:2"]) > float(values["class:0"]) > 0


@pytest.mark.exhaustive
def test_the_whole_tutorial_runs_word_for_word(tmp_path, monkeypatch):
    run_tutorial(tmp_path, monkeypatch, slice(None))
    assert (tmp_path / "report.html").stat().st_size > 1_000_000
    assert landscape.read_landscape(tmp_path / "mine.h5")


@pytest.mark.exhaustive
def test_how_tos_run_word_for_word_where_they_need_no_cluster(tmp_path, monkeypatch):
    """Every command on `runs/ce` and `runs/bgp`, in the order of the page, and its Python."""
    text = (DOCS / "how_to.md").read_text().partition("## Transformers")[0]
    monkeypatch.chdir(tmp_path)
    for method in ("ce", "bgp"):
        run_command("training.run", *SMALL, "--method", method, "--out", f"runs/{method}")
    for command in re.findall(r"^    python -m (.*)$", text, re.MULTILINE):
        module, *words = shlex.split(command)
        if "--group" in words:  # runs of several seeds: here of one
            for method in ("ce", "bgp"):
                shutil.copytree(f"runs/{method}", f"runs/{method}-0")
        names = [sorted(str(path) for path in Path().glob(word)) or [word] for word in words]
        run_command(module, *itertools.chain.from_iterable(names))
    for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        exec(block, {})
    assert Path("report.html").is_file() and Path("figures/table.tex").is_file()


def test_every_page_of_the_site_is_in_one_table_of_contents():
    contents = "".join(re.findall(r"```{toctree}(.*?)```", (DOCS / "index.md").read_text(), re.DOTALL))
    listed = re.findall(r"^([a-z_]+)$", contents, re.MULTILINE)
    assert sorted(listed) == sorted(path.stem for path in DOCS.glob("*.md") if path.stem != "index")
