"""The demo's steps: commands that exist, with options that they have, so that `all` stands beside the tail."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from analyses import quickstart

PARSERS = {
    "landscape.hessian": "build_parser",
    "landscape.sharpness": "build_parser",
    "landscape.surface": "build_parser",
    "landscape.report": "parser",
}


def test_every_step_is_a_command_that_parses(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    steps = []

    def step(module: str, *arguments: object) -> None:
        words = [str(argument) for argument in arguments]
        if module in PARSERS:
            steps.append(
                (module, getattr(importlib.import_module(f"{module}.__main__"), PARSERS[module])().parse_args(words))
            )

    monkeypatch.setattr(quickstart, "step", step)
    monkeypatch.setattr(quickstart, "compare", lambda files: "")
    (tmp_path / "ce").mkdir()
    for name in ("ce", "bgp"):
        (tmp_path / name).mkdir(exist_ok=True)
        (tmp_path / name / "checkpoint.pt").touch()
        (tmp_path / name / "landscape.h5").touch()
    quickstart.quickstart(tmp_path)
    assert [module for module, _ in steps].count("landscape.surface") == 4
    measured = [
        set(told.subsets.split(","))
        for module, told in steps
        if module == "landscape.hessian" and told.split == "train"
    ]
    assert any({"all", "few", "class:0", "class:9"} <= subsets for subsets in measured)
    assert {told.plane for module, told in steps if module == "landscape.surface"} == {"random", "eigen"}
