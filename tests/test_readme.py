"""What the README promises."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.landscape.report.browser import opened, started

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


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
    pages = [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
    for page in pages:
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("module", sorted(set(re.findall(r"python -m ([a-z.]+)", README))))
def test_every_command_shows_its_help(module):
    from tests.conftest import run_command

    shown = run_command(module, "--help").stdout
    assert f"example: python -m {module}" in shown
