"""What the README promises."""

import contextlib
import importlib.util
import re
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.import_graph import PACKAGES
from tests.landscape.report.browser import opened, started
from tests.test_architecture import ORDER

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
ROOMS = r"(?:foundation|landscape|training|analyses|benchmarks)"


def test_an_own_network_gets_to_a_page_by_the_example(tmp_path, monkeypatch):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    images, labels = torch.randn(24, 1, 4, 4), torch.tensor([0] * 12 + [1] * 8 + [2] * 4)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(example.splitlines()) <= 12
    monkeypatch.chdir(tmp_path)
    exec(example, {"network": network, "images": images, "labels": labels})
    with started() as browser, opened(browser, tmp_path / "report.html") as page:
        page.settle("surface")
        assert "boot" in page.page.locator("table").first.inner_text()


def test_every_link_and_picture_is_there():
    contents = (ROOT / "docs" / "index.md").read_text()
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            made = target.startswith("generated/") and f"\n{Path(target).with_suffix('')}\n" in contents  # by make docs
            assert made or (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_and_module_that_a_page_names_is_there(page):
    text = page.read_text()
    for path in re.findall(rf"`({ROOMS}/[\w/.]*\w)/?`", text):
        assert (ROOT / path).exists(), f"{page.name} names {path}"
    for dotted in re.findall(rf"(?<![\w/]){ROOMS}(?:\.\w+)+(?!\w)", text):
        if not dotted.endswith((".h5", ".pt", ".md", ".NAME", ".COMMAND")):
            assert there(dotted), f"{page.name} names {dotted}"


def there(dotted):
    """Whether it is a module, or a name in one."""
    module, _, name = dotted.rpartition(".")
    for holds in (lambda: importlib.util.find_spec(dotted), lambda: hasattr(importlib.import_module(module), name)):
        with contextlib.suppress(ModuleNotFoundError):
            if holds():
                return True
    return False


def test_the_tree_in_the_architecture_is_the_tree():
    text = (ROOT / "docs/architecture.md").read_text()
    named = re.findall(r"^\| `([\w/]+)/` \|", text, re.MULTILINE)
    packages = {path.parent.relative_to(ROOT) for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    assert set(named) == {str(path) for path in packages} | {"landscape/report/page", "tests", "examples"}
    assert len(named) == len(set(named))


def test_the_order_in_the_architecture_is_the_one_that_is_held():
    block = (ROOT / "docs/architecture.md").read_text().partition("## Who may know whom")[2].partition("- Commands")[0]
    lines = re.findall(r"^    ([\w ·]+?)(?:  .*)?$", block, re.MULTILINE)
    drawn = [{name if name in PACKAGES else f"landscape.{name}" for name in line.split(" · ")} for line in lines]
    assert drawn == [set(rooms) for rooms in reversed(ORDER)]


@pytest.mark.parametrize(
    "module", sorted(set(re.findall(r"python -m ((?:training|landscape|analyses)[a-z.]*)", README)))
)
def test_every_command_shows_its_help(module):
    from tests.conftest import run_command

    shown = run_command(module, "--help").stdout
    assert f"example: python -m {module}" in shown
