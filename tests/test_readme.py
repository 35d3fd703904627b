"""What the README promises."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import landscape

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(capsys):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.Tanh(), nn.Linear(8, 3))
    images, labels = torch.randn(24, 1, 4, 4), torch.tensor([0] * 12 + [1] * 8 + [2] * 4)
    (example,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    exec(example, {"network": network, "images": images, "labels": labels})
    assert "class:2" in capsys.readouterr().out


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


def test_the_public_face_is_whole():
    for name in landscape.__all__:
        assert getattr(landscape, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        landscape.nothing  # noqa: B018
