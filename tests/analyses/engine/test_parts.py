"""Parts: named by what they are made of, made once, in an order in which each finds what it needs."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import pytest

from analyses.engine import parts as module
from analyses.engine.parts import Layout, Part
from analyses.engine.study import Difference, Flatness, Measured, Question, Study, Variant
from foundation.errors import InputError

NAMES = ("ce", "bgp", "sam")


def study(weight: float = 2.0, **changes) -> Study:
    return replace(
        Study(
            "it", "What?",
            (
                Variant("ce", {"method": "ce"}),
                Variant("bgp", {"method": "bgp", "method_kwargs": {"weight": weight}}),
                Variant("sam", {"method": "sam"}),
            ),
            2,
            (
                Question("c", "flatter", Flatness("ce", "bgp", "few"), "flatter"),
                Question("c", "flatter too", Flatness("ce", "bgp", "class:9"), "flatter"),
                Question("b", "better", Difference("ce", "sam", "accuracy", "few"), "above"),
            ),
            shared={"epochs": 4, "data": "digits"},
            measured=(Measured("hessian", "test", ("few",)),),
        ),
        **changes,
    )  # fmt: skip


def names(told: Study, out: Path = Path("out")) -> set[str]:
    return {part.command.name for part in Layout(told, out).parts(2, NAMES)}


def test_each_command_comes_after_those_it_needs_and_all_parse() -> None:
    seen: set[str] = set()
    for part in Layout(study(), Path("out")).parts(2, NAMES):
        assert set(part.command.needs) <= seen and part.command.name not in seen
        seen.add(part.command.name)
        home = part.command.module if part.command.module == "training.run" else f"{part.command.module}.__main__"
        if "--match-loss" not in part.command.arguments and home != "training.run":
            continue  # those with options of their own are enough
        arguments = [word for word in part.command.arguments if not word.endswith(".h5")]
        arguments = [word for word in arguments if word not in ("--match-loss", "--out")]
        importlib.import_module(home).build_parser().parse_args(
            arguments if home != "training.run" else part.command.arguments
        )
    assert len(seen) == 2 * (3 + 3 * 2 + 4)  # trainings; Hessian of the test and losses of the training split; pairs


def test_two_commands_never_write_one_file_at_a_time() -> None:
    parts = Layout(study(), Path("out")).parts(1, NAMES)
    needs = {part.command.name: set(part.command.needs) for part in parts}

    def ancestors(name: str) -> set[str]:
        return {name}.union(*(ancestors(before) for before in needs[name]))

    for one in parts:
        for other in parts:
            if one.made == other.made and one is not other:
                assert one.command.name in ancestors(other.command.name) | {
                    n for n in [one.command.name] if other.command.name in ancestors(one.command.name)
                }


def test_a_changed_weight_makes_anew_what_depends_on_it_alone() -> None:
    changed = names(study()) ^ names(study(weight=3.0))
    assert changed and all("bgp" in name for name in changed)
    same = names(study()) & names(study(weight=3.0))
    assert any(name.startswith("ce") and "hessian-test" in name for name in same)
    assert not any("bgp" in name for name in same)


def test_a_method_whose_own_settings_changed_is_trained_again(monkeypatch: pytest.MonkeyPatch) -> None:
    before, known = names(study()), module.build_method

    def other(name: str, *arguments, **settings):
        told = known(name, *arguments, **settings)
        return replace(told, record={**told.record, "changed": True}) if name == "sam" else told

    monkeypatch.setattr(module, "build_method", other)
    assert all("sam" in name for name in before ^ names(study()))


def test_other_numerics_measure_again_and_train_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    before = names(study())
    monkeypatch.setattr(module, "NUMERICS", module.NUMERICS + 1)
    assert before & names(study()) == {name for name in before if name.endswith(("seed-0", "seed-1"))}


def test_a_study_shares_its_trainings_with_another_of_the_same_settings() -> None:
    other = study(name="other", measured=())
    assert {n for n in names(study()) & names(other) if n.endswith("seed-0")} == {
        n for n in names(study()) if n.endswith("seed-0")
    }


def test_another_subset_at_equal_loss_is_measured_and_no_old_file_stands_for_it() -> None:
    more = Question("c", "flatter", Flatness("ce", "sam", "class:9"), "flatter")
    few = study(questions=(*study().questions, Question("c", "f", Flatness("ce", "sam", "few"), "flatter")))
    both = study(questions=(*few.questions, more))
    new = names(both) - names(few)
    assert len(new) == 2 * 4 and all("ce" in name and "sam" in name and "-at-" in name for name in new)
    alone = study(questions=(more,))
    assert not {name for name in names(alone) & names(study()) if not name.endswith(("seed-0", "seed-1"))}


def test_variants_of_one_configuration_are_trained_once() -> None:
    twice = study(variants=(Variant("ce", {"method": "ce"}), Variant("again", {"method": "ce"})), questions=())
    trained = [p for p in Layout(twice, Path("out")).parts(1, ("ce", "again")) if p.command.module == "training.run"]
    assert len(trained) == 1


def test_what_is_done_is_what_is_there(tmp_path: Path) -> None:
    training, *measured = Layout(study(), tmp_path).parts(1, ("ce",))
    assert not training.done and not measured[0].done
    training.made.parent.mkdir(parents=True)
    training.made.write_text("{}")
    assert training.done and not measured[0].done
    pair: Part = next(p for p in Layout(study(), tmp_path).parts(1, NAMES) if p.may_refuse)
    pair.refused.parent.mkdir(parents=True, exist_ok=True)
    pair.refused.write_text("no temperature\n")
    assert pair.done


def test_an_unknown_setting_is_named() -> None:
    with pytest.raises(InputError, match="'epoch'"):
        Layout(study(shared={"epoch": 3}), Path("out"))
