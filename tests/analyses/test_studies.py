"""The declared studies: what each asks about is trained and measured; what was committed says what the tables say."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from analyses.__main__ import STUDIES
from analyses.engine.answers import answer
from analyses.engine.command import parser_of
from analyses.engine.console import RESULTS, main
from analyses.engine.findings import findings_table
from analyses.engine.numbers import read_numbers
from analyses.engine.parts import Layout
from analyses.engine.study import ABOVE, BELOW, CLAIMS, EQUAL, FLATTER, SHARPER, Difference, Flatness, Study
from analyses.engine.tables import answers_csv
from landscape.comparison.curvature import CURVATURE
from tests.import_graph import ROOT

COMMITTED = sorted(path.parent.name for path in RESULTS.glob("*/values.csv"))
STUDY_OF = {study.name: study for study in STUDIES}
each = pytest.mark.parametrize("study", STUDIES, ids=lambda study: study.name)


@each
def test_every_statement_is_about_what_is_trained_and_measured(study: Study) -> None:
    names = [variant.name for variant in study.variants]
    assert len(set(names)) == len(names) and not any("," in name for name in names)
    texts = [question.text for question in study.questions]
    assert len(set(texts)) == len(texts) and {question.claim for question in study.questions} <= set(CLAIMS)
    trained = ("accuracy", "loss", "accuracy of best.pt", "loss of best.pt")
    for question in study.questions:
        about = question.about
        if isinstance(about, Difference):
            assert {about.base, about.variant} <= set(names) and about.measure in trained and about.split == "test"
            assert question.says in (ABOVE, BELOW) or (question.says == EQUAL and question.margin > 0)
        elif isinstance(about, Flatness):
            assert {about.base, about.variant} <= set(names) and question.says in (FLATTER, SHARPER, EQUAL)
        else:
            assert {about.control, about.variant} <= set(names) and question.says in (ABOVE, BELOW)
            assert about.measure in {"loss", *(measure.key for measure in CURVATURE)}
            wanted = {m.split for m in study.measured if len([s for s in m.subsets if s.startswith("class:")]) > 1}
            assert about.split in wanted


@each
def test_every_part_is_a_command_of_usable_settings(study: Study) -> None:
    parts = Layout(study, Path("out")).parts(1, [variant.name for variant in study.variants])
    names = [part.command.name for part in parts]
    assert len(set(names)) == len(names) >= len(study.variants)
    assert all(len(name) < 200 and "/" not in name for name in names)  # of log files


def test_long_trainings_are_shared() -> None:
    def trained(name: str) -> set[Path]:
        study = STUDY_OF[name]
        return {Layout(study, Path()).folder(variant.name, 0) for variant in study.variants}

    assert len(trained("training_length") & trained("reweighting")) == 3
    assert len(trained("training_length") & trained("sam_on_long_tail")) == 2


def test_the_list_names_every_study(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(STUDIES, ["--list"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[2].partition(".")[2] for line in lines] == list(STUDY_OF)


def test_the_page_of_studies_tells_every_option() -> None:
    page = (ROOT / "docs" / "studies.md").read_text()
    for action in parser_of(STUDIES[0])._actions:
        assert action.option_strings[-1] in page or action.dest == "help"


def test_the_own_study_of_the_page_is_one() -> None:
    page = (ROOT / "docs" / "studies.md").read_text()
    told: dict[str, Study] = {}
    exec(page.partition("```python\n")[2].partition("```")[0], told)  # type: ignore[arg-type]
    assert len(Layout(told["STUDY"], Path()).parts(8, ("ce", "focal"))) == 16


def test_findings_show_what_the_committed_numbers_say() -> None:
    assert findings_table(STUDIES, RESULTS) in (ROOT / "docs" / "findings.md").read_text()


def test_without_results_every_statement_was_not_run(tmp_path: Path) -> None:
    told = findings_table(STUDIES, tmp_path)
    assert "No study asks about it." in told.partition("### (d)")[2].partition("### (e)")[0]
    assert told.count("| not run | 0 |") == sum(len(study.questions) for study in STUDIES)


@pytest.mark.parametrize("name", COMMITTED)
def test_each_verdict_follows_from_the_committed_tables(name: str) -> None:
    folder = RESULTS / name
    committed = (folder / "answers.csv").read_text(encoding="utf-8")
    assert answers_csv(answer(STUDY_OF[name], read_numbers(folder))) == committed
    assert len(list(csv.DictReader(committed.splitlines()))) == len(STUDY_OF[name].questions)
    for file in folder.iterdir():
        assert file.stat().st_size <= 200_000
        assert not any(place in file.read_text(encoding="utf-8") for place in ("/home", "/root", "/tmp", "/work"))
