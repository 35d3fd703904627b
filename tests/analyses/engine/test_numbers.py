"""Numbers of a study: read from measured files, the same after a round through CSV."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from analyses.engine import write
from analyses.engine.command import carry_out
from analyses.engine.numbers import PAIRS, Numbers, Pair, Value, read_numbers
from analyses.engine.parts import Layout
from analyses.engine.study import Flatness, Measured, Question, Study, Variant
from analyses.executor import Command, Failure
from foundation.errors import InputError
from landscape.comparison.compare import compare
from landscape.comparison.runs import Run, open_runs
from landscape.files.landscape_file import read_landscape
from tests.landscape.comparison.make_pair import unpacked

CLASS = "class:2"
STUDY = Study(
    "it",
    "Which is flatter?",
    (Variant("plain", {"method": "ce"}), Variant("decayed", {"method": "ce", "weight_decay": 0.01})),
    1,
    (Question("c", "The decayed network is flatter", Flatness("plain", "decayed", CLASS), "flatter"),),
    measured=(Measured("hessian", "train", (CLASS,)),),
)


def test_numbers_are_those_of_the_measured_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "pair").mkdir()
    files = unpacked(tmp_path / "pair")
    layout = Layout(STUDY, tmp_path)

    def carry(commands: Sequence[Command]) -> dict[str, Failure]:
        for variant, file in zip(("plain", "decayed"), files, strict=True):
            place = layout.landscape(variant, 0)
            place.parent.mkdir(parents=True)
            shutil.copy(file, place)
            place.with_name("config.json").write_text(json.dumps({"method": variant, "seed": 0}))
        return {}

    pages: list[tuple[Run, ...]] = []
    monkeypatch.setattr(write, "write_report", lambda paths, out, groups: pages.append(open_runs(paths, groups)))
    (told,) = carry_out(STUDY, tmp_path, carry, seeds=1, variants=("plain", "decayed"))
    numbers = read_numbers(tmp_path / "it")
    compared = compare(files)
    place = [row.name for row in compared.rows].index(CLASS)
    expected = compared.flatness[1][place]
    assert told.verdict == "too few seeds" and len(numbers.pairs) == len(expected.witnesses) >= 2
    for pair, witness in zip(numbers.pairs, expected.witnesses, strict=True):
        assert (pair.witness, pair.before, pair.after) == (
            witness.name, pytest.approx(witness.before, rel=1e-5), pytest.approx(witness.after, rel=1e-5),
        )  # fmt: skip
        assert (pair.low, pair.high) == pytest.approx((witness.low, witness.high), rel=1e-5)
    hessian = read_landscape(files[1]).get("hessian", "train")
    assert hessian is not None
    top = float(hessian.data["top"][hessian.subset.index(CLASS), 0])
    assert numbers.by_seed("decayed", "top", CLASS, "train") == {0: pytest.approx(top, rel=1e-5)}
    assert [run.method for run in pages[0]] == ["plain", "decayed"]
    assert "networks.html" in (tmp_path / "it" / "report.html").read_text()


def test_csv_gives_back_what_was_written(tmp_path: Path) -> None:
    numbers = Numbers(
        (Value("a, b", 1, "test", "few", 6, "top", 0.123456), Value("a, b", 2, "test", "few", 6, "top", math.inf)),
        (Pair("a", 'b "x"', 0, "train", "few", 0.5, "λ₁ of |w|H|w|", 1.0, 2.0, 1.9, 2.1),),
    )
    numbers.write(tmp_path)
    assert read_numbers(tmp_path) == numbers
    assert numbers.by_seed("a, b", "top", "few", "test") == {1: 0.123456}


def test_a_file_that_is_not_there_or_no_table_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="run the study first"):
        read_numbers(tmp_path)
    Numbers((), ()).write(tmp_path)
    for broken in (
        "base,variant\na,b\n",
        "base,variant,seed,split,subset,loss,witness,before,after,low,high,reason\nx\n",
    ):
        (tmp_path / PAIRS).write_text(broken)
        with pytest.raises(InputError, match="no table of a study"):
            read_numbers(tmp_path)
