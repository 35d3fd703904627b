"""A study from end to end: what is run, what is not run again, what is refused, what is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from analyses import executor
from analyses.engine.command import _chosen, carry_out, main
from analyses.engine.numbers import read_numbers
from analyses.engine.study import Difference, Flatness, Question, Study, Variant, quick
from analyses.executor import Command, Failure
from foundation.errors import InputError, LandscapeError

STUDY = Study(
    "it",
    "Is B better <here>?",
    (Variant("a", {"method": "ce", "epochs": 30}), Variant("b", {"method": "bgp", "epochs": 30})),
    6,
    (
        Question("c", "B is better & flatter", Difference("a", "b", "accuracy", "few"), "above"),
        Question("c", "B is flatter", Flatness("a", "b", "few"), "flatter"),
    ),
    limits=("A limit of <it>.",),
)
ACCURACY = STUDY.questions[:1]


def summary(accuracy: float) -> str:
    means = {"all": accuracy, "many": accuracy, "few": accuracy, "classes": [accuracy]}
    result = {"epoch": 30, "loss": means, "accuracy": means}
    return json.dumps({"last": result, "best": result})


class Trainer:
    """Carries commands out without training: B's accuracy is .1 and a little above A's."""

    def __init__(self) -> None:
        self.carried: list[str] = []

    def __call__(self, commands: Sequence[Command]) -> dict[str, Failure]:
        for command in commands:
            self.carried.append(command.name)
            arguments = list(command.arguments)
            assert command.module == "training.run", "only trainings are missing here"
            out, seed = Path(arguments[arguments.index("--out") + 1]), int(arguments[arguments.index("--seed") + 1])
            out.mkdir(parents=True)
            accuracy = 0.5 + (0.1 + 0.001 * seed) * ("bgp" in arguments)
            (out / "summary.json").write_text(summary(accuracy))
        return {}


def without_pairs(study: Study = STUDY) -> Study:
    return Study(study.name, study.asks, study.variants, study.seeds, ACCURACY, limits=study.limits)


def test_a_finished_study_does_nothing_and_says_the_same(tmp_path: Path) -> None:
    trainer = Trainer()
    first = carry_out(without_pairs(), tmp_path, trainer, seeds=6, variants=("a", "b"))
    assert first[0].verdict == "supported" and len(trainer.carried) == 12
    pages = {p.name: p.read_bytes() for p in (tmp_path / "it").iterdir() if p.name != "provenance.json"}
    again = carry_out(without_pairs(), tmp_path, trainer, seeds=6, variants=("a", "b"))
    assert again == first and len(trainer.carried) == 12
    assert pages == {p.name: p.read_bytes() for p in (tmp_path / "it").iterdir() if p.name != "provenance.json"}
    page = (tmp_path / "it" / "report.html").read_text()
    assert "Is B better &lt;here&gt;?" in page and "<svg" in page and "+10.2 [" in page and "networks.html" not in page
    assert read_numbers(tmp_path / "it").by_seed("b", "accuracy", "few", "test")[3] == 60.3
    assert str(tmp_path) not in (tmp_path / "it" / "provenance.json").read_text()


def test_what_is_missing_is_made_and_no_more(tmp_path: Path) -> None:
    trainer = Trainer()
    carry_out(without_pairs(), tmp_path, trainer, seeds=2, variants=("a",))
    assert len(trainer.carried) == 2
    told = carry_out(without_pairs(), tmp_path, trainer, seeds=3, variants=("a", "b"))
    assert len(trainer.carried) == 6 and len(set(trainer.carried)) == 6
    assert told[0].verdict == "too few seeds" and told[0].seeds == 3


def test_a_pair_that_no_temperature_brings_together_is_noted_and_not_tried_again(tmp_path: Path) -> None:
    tried: list[str] = []

    def refuse(commands: Sequence[Command]) -> dict[str, Failure]:
        matched = [command.name for command in commands if "--match-loss" in command.arguments]
        rest = [command for command in commands if command.name not in matched]
        for command in rest:
            if command.module == "training.run":
                Trainer()([command])
        tried.extend(matched)
        return {name: Failure(2, "no temperature brings few to the losses") for name in matched}

    told = carry_out(STUDY, tmp_path, refuse, seeds=1, variants=("a", "b"))
    assert len(tried) == len(set(tried)) == 4
    assert told[1].verdict == "not run"  # nothing was measured at all here: no file


@pytest.mark.parametrize(("code", "kind"), [(2, InputError), (1, LandscapeError), (-9, LandscapeError)])
def test_a_failed_command_ends_the_study_with_its_sentence(tmp_path: Path, code: int, kind: type) -> None:
    with pytest.raises(
        kind, match=rf"1 of 12 commands failed; \S+ ended with exit code {code}: the disk is full"
    ) as told:
        carry_out(
            without_pairs(), tmp_path, lambda commands: {commands[3].name: Failure(code, "the disk is full")},
            seeds=6, variants=("a", "b"),
        )  # fmt: skip
    assert told.type is kind


def test_the_command_runs_prints_and_writes(monkeypatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr(executor, "run", lambda commands, **asked: Trainer()(commands))
    with pytest.raises(SystemExit) as ended:
        main(without_pairs(), ["--quick", "--out", str(tmp_path)])
    told = capsys.readouterr().out
    assert ended.value.code == 0 and "| c | B is better & flatter | quick: no verdict | 1 |" in told
    assert "It answers nothing." in (tmp_path / "it-quick" / "report.html").read_text()
    with pytest.raises(SystemExit):
        main(without_pairs(), ["--executor", "print", "--out", str(tmp_path), "--seeds", "3", "--runs", "b"])
    script = capsys.readouterr().out
    assert script.startswith("#!/bin/bash") and "--array=0-2" in script and script.count("training.run") == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--seeds", "0"], "0 seeds"),
        (["--runs", "c"], "variant"),
        (["--jobs", "0"], "0 jobs"),
        (["--slurm", "partition"], "key=value"),
        (["--executor", "lokal"], "did you mean local"),
    ],
)
def test_bad_arguments_are_one_sentence(arguments, sentence, capsys, tmp_path: Path) -> None:
    with pytest.raises(SystemExit) as ended:
        main(STUDY, [*arguments, "--out", str(tmp_path)])
    error = capsys.readouterr().err
    assert ended.value.code == 2 and sentence in error and error.count("\n") == 1


def test_patterns_choose_variants_in_the_studys_order() -> None:
    assert _chosen(STUDY, "b,a") == ["a", "b"] and _chosen(STUDY, None) == ["a", "b"] and _chosen(STUDY, "[b]") == ["b"]


def test_a_quick_study_trains_for_a_fifteenth() -> None:
    assert [variant.settings["epochs"] for variant in quick(STUDY).variants] == [2, 2]
    assert quick(STUDY).questions == STUDY.questions
