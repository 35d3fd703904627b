"""A small study with real commands: killed wherever it stands, it ends with the numbers of one that was not."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from pathlib import Path

import pytest

from analyses.engine.numbers import PAIRS, VALUES, read_numbers
from analyses.engine.study import Flatness, Measured, Question, Study, Variant

STUDY = Study(
    "small",
    "Does all of it run?",
    (Variant("ce", {"method": "ce"}), Variant("bgp", {"method": "bgp"})),
    1,
    (Question("c", "BGP is flatter", Flatness("ce", "bgp", "few"), "flatter"),),
    shared={"data": "digits", "imbalance": 10.0, "epochs": 3},
    measured=(Measured("sharpness", "train", ("few", "class:9")),),
)
CODE = "from analyses.engine.command import main; from tests.analyses.engine.test_real_study import STUDY; main(STUDY)"


def start(out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", CODE, "--out", str(out), "--jobs", "2"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_a_killed_study_continues_and_a_finished_one_does_nothing(tmp_path: Path) -> None:
    whole = start(tmp_path / "whole")
    told, said = whole.communicate()
    assert whole.returncode == 0, said
    assert "8 of 8 commands are to be run" in told and "| c | BGP is flatter | too few seeds | 1 |" in told
    folder = tmp_path / "whole" / "small"
    numbers = read_numbers(folder)
    assert {value.measure for value in numbers.values} >= {"accuracy", "loss", "adaptive@0.1"}
    assert len(numbers.pairs) == 3 and not any(pair.reason for pair in numbers.pairs)
    assert (folder / "report.html").is_file() and (folder / "networks.html").is_file()

    for seconds in (4, 8, 12):  # wherever it stands then, on a machine of any speed
        killed = start(tmp_path / "killed")
        with contextlib.suppress(subprocess.TimeoutExpired):
            killed.communicate(timeout=seconds)
        killed.kill()
        killed.communicate()
    for _ in range(2):
        ended = start(tmp_path / "killed")
        told, said = ended.communicate()
        assert ended.returncode == 0, said
    assert "to be run" not in told
    for name in (VALUES, PAIRS):
        assert (tmp_path / "killed" / "small" / name).read_text() == (folder / name).read_text()
