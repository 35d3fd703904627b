"""The page's scripts: closures that take what is there, and no number that Python says too."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from landscape.comparison.run_colors import DARK, LIGHT
from landscape.report.palette import contrast, run_colors
from landscape.report.payload.constants import constants
from landscape.report.render import SCRIPTS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "landscape" / "report" / "page"
SHARED = constants()["packing"] | {key: constants()[key] for key in ("z95", "same", "visible")}


def code(name: str) -> str:
    return re.sub(r"//.*", "", (PAGE / f"{name}.js").read_text())


def test_every_script_is_in_the_page_once() -> None:
    assert sorted(SCRIPTS) == sorted(path.stem for path in PAGE.glob("*.js"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_takes_what_earlier_ones_give(name: str) -> None:
    given = {
        earlier: set(re.findall(r"\w+", re.findall(r"return \{([^}]*)\};\n\}\)", code(earlier))[-1]))
        for earlier in SCRIPTS[: SCRIPTS.index(name)]
    }
    head = re.search(r"\(\(\{(.*?)\}\) => \{", code(name), re.DOTALL)
    for earlier, names in re.findall(r"(\w+): \{([^}]*)\}", head[1] if head else ""):
        assert set(re.findall(r"\w+", names)) <= given[earlier]
    assert set(re.findall(r"^landscape\.(\w+)", code(name), re.MULTILINE)) == ({name} if name != "start" else set())


@pytest.mark.parametrize(("word", "value"), SHARED.items())
def test_a_number_of_pythons_is_not_said_again(word: str, value: float) -> None:
    for name in SCRIPTS:
        assert not re.search(rf"(?<![\w.]){re.escape(f'{value:g}' if value < 10 else str(value))}(?![\w.])", code(name))


def test_verdicts_statuses_and_colors_of_runs_are_not_said_again() -> None:
    for name in SCRIPTS:
        for verdict in constants()["verdicts"]:
            assert f'"{verdict["name"]}"' not in code(name)
            assert verdict["words"] not in code(name)
        assert not re.search(r"status\b[^=;\n]*[!=]==? ?\d", code(name))
    style = (PAGE / "report.css").read_text()
    assert not any(color in style for color in (*LIGHT, *DARK))


def test_text_in_a_runs_color_can_be_read() -> None:
    """WCAG AA on every ground of the page, light and dark."""
    style = (PAGE / "report.css").read_text()
    light, dark = (block for block in re.findall(r":root[^{]*\{([^}]*)\}", style)[:2])
    texts = re.findall(r"--run-text-\d: (#\w+)", run_colors())
    assert len(texts) == 16
    for colors, grounds in ((texts[:8], light), (texts[8:], dark)):
        for name in ("ground", "card", "band"):
            ground = re.search(rf"--{name}: (#\w+)", grounds)[1]
            assert all(contrast(color, ground) >= 4.5 for color in colors)
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.478, abs=1e-3)
