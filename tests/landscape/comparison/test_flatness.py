"""Which network is called flatter: only what scale-free measures at equal loss say, and nothing where they do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from landscape.comparison.compare import compare
from landscape.comparison.flatness import (
    ADAPTIVE,
    DISAGREE,
    EQUAL,
    FEW_WITNESSES,
    FLATTER,
    NOT_MEASURED,
    OTHER_SIDE,
    SHARPER,
    TOP,
    TRACE,
    UNCERTAIN,
    UNKNOWN,
    UNTOLD,
    Flatness,
    Witness,
    judge,
)
from landscape.report.write import write_report
from tests.landscape.altered import altered
from tests.landscape.comparison.flat_runs import SHAS, answered, title, write


def witness(ratio: float, error: float = 0.0) -> Witness:
    return Witness("x", 1.0, ratio, ratio * (1 - error), ratio * (1 + error))


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ((0.5, 0.5, 0.5), FLATTER), ((0.5, 0.5, 1.0), FLATTER), ((0.5, 0.5), FLATTER), ((0.8, 0.8), FLATTER),
        ((0.5, 0.5, 2.0), DISAGREE), ((2.0, 3.0, 1.1), SHARPER), ((2.0, 0.5), DISAGREE), ((1.0, 1.24, 0.81), EQUAL),
        ((0.5, 1.0, 1.0), DISAGREE), ((0.5, 1.0), DISAGREE), ((0.1,), UNKNOWN), ((), UNKNOWN),
    ],
)  # fmt: skip
def test_the_rule(ratios: Sequence[float], verdict: str) -> None:
    assert judge([witness(ratio) for ratio in ratios]) == verdict


def test_numerical_errors_take_a_verdict_away() -> None:
    assert judge([witness(0.79, 0.2), witness(0.79, 0.2)]) == UNCERTAIN
    assert judge([witness(0.5, 0.2), witness(0.79, 0.2), witness(0.5)]) == FLATTER
    assert judge([witness(1.0, 0.5), witness(1.0), witness(1.0)]) == UNCERTAIN


@given(st.lists(st.tuples(st.floats(0.01, 100), st.floats(0, 0.9)), max_size=3))
def test_exchanging_the_networks_exchanges_the_verdict(told: list[tuple[float, float]]) -> None:
    forth = [Witness("x", 1.0, r, r * (1 - e), r / (1 - e)) for r, e in told]
    back = [Witness("x", w.ratio, 1.0, 1 / w.high, 1 / w.low) for w in forth]
    turned = {FLATTER: SHARPER, SHARPER: FLATTER}
    # at the very edge 1/x rounds either way
    if all(abs(end - edge) > 1e-9 for w in forth for end in (w.low, w.high) for edge in (1.25, 0.8)):
        assert judge(back) == turned.get(judge(forth), judge(forth))


def judged(paths: Sequence[Path]) -> Flatness:
    """The verdict on the rarest class."""
    compared = compare(paths)
    return compared.flatness[1][-1]


def test_raw_curvature_alone_never_makes_a_claim(tmp_path: Path) -> None:
    """A rescaled twin: its raw eigenvalue is 76 times larger, everything scale-free is the same."""
    paths = [write(tmp_path, "a"), write(tmp_path, "b", top=76.0)]
    assert judged(paths).verdict == EQUAL
    assert title(paths).startswith("At equal loss b is as flat as a at all 2 few-shot classes")
    assert "76" not in title(paths) and "sharper" not in title(paths)


def test_networks_at_unequal_losses_get_no_verdict_but_the_command(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a", loss=0.5), write(tmp_path, "b", loss=0.1, scaled=0.1)]
    assert judged(paths).verdict == UNKNOWN
    assert title(paths) == (
        "a and b, class by class: neither is called flatter before two scale-free measures at equal loss say so."
    )
    assert "--match-loss" in answered(paths) and "--overwrite" not in answered(paths)


def test_the_run_of_the_smaller_loss_is_read_where_it_was_lifted(tmp_path: Path) -> None:
    lifted = {"to": SHAS["a"], "loss": 0.5, "scaled": 0.4}
    paths = [write(tmp_path, "a", loss=0.5), write(tmp_path, "b", loss=0.1, scaled=2.0, top=9.0, lifted=lifted)]
    found = judged(paths)
    assert found.verdict == FLATTER and found.loss == pytest.approx(0.5)
    assert [w.name for w in found.witnesses] == [TOP, TRACE, ADAPTIVE]
    assert [w.ratio for w in found.witnesses] == pytest.approx([0.4] * 3)
    assert title(paths) == (
        "At equal loss b is flatter than a at all 2 few-shot classes (λ₁ of |w|H|w| ÷2.5). Two networks, one seed each."
    )
    assert judged(paths[::-1]).verdict == SHARPER


def test_classes_of_several_verdicts_are_told_apart_and_ratios_are_those_of_the_verdict(tmp_path: Path) -> None:
    """Two measures that agree and one that says the opposite are no verdict, though the first is the clearest."""
    paths = [write(tmp_path, "a"), write(tmp_path, "b", scaled=0.1)]
    with altered(paths[1]) as opened:
        names = list(opened["sharpness/train/label"].asstr()[()])
        opened["sharpness/train/adaptive"][names.index("elk")] = 2.0
    assert title(paths) == (
        "At equal loss b is flatter than a at 1 of 2 few-shot classes (λ₁ of |w|H|w| ÷10); neither flatter nor sharper "
        "than a, for the measures disagree, at 1 of 2 few-shot classes. Two networks, one seed each."
    )


def test_a_group_measured_alone_leads_where_no_class_was(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a"), write(tmp_path, "b", scaled=0.1)]
    for path in paths:
        with altered(path) as opened:
            for analysis in ("hessian", "sharpness"):
                kinds = opened[f"{analysis}/train/kind"].asstr()[()]
                opened[f"{analysis}/train/loss"][kinds == "class"] = np.nan
            opened["evaluation/train/loss"][kinds == "class"] = np.nan
    assert title(paths) == (
        "At equal loss b is flatter than a at the few-shot classes together (λ₁ of |w|H|w| ÷10). "
        "Two networks, one seed each."
    )
    assert "few <strong>flatter</strong>" in answered(paths)


def test_a_measurement_lifted_to_a_third_network_is_not_taken(tmp_path: Path) -> None:
    lifted = {"to": "c" * 64, "loss": 0.5, "scaled": 0.4}
    paths = [write(tmp_path, "a", loss=0.5), write(tmp_path, "b", loss=0.1, lifted=lifted)]
    assert judged(paths).verdict == UNKNOWN


def test_a_class_without_a_temperature_stands_at_its_own_loss(tmp_path: Path) -> None:
    lifted = {"to": SHAS["a"], "loss": 0.5, "scaled": 0.4, "temperature": np.nan}
    paths = [write(tmp_path, "a", loss=0.5), write(tmp_path, "b", loss=0.1, lifted=lifted)]
    assert judged(paths).verdict == UNKNOWN
    lifted |= {"temperature": 2.0, "loss": 0.3}  # says it was lifted, and was not lifted there
    paths = [write(tmp_path / "x", "a", loss=0.5), write(tmp_path / "x", "b", loss=0.1, lifted=lifted)]
    assert judged(paths).verdict == UNKNOWN


def test_networks_on_opposite_sides_of_their_lowest_losses_are_not_compared(tmp_path: Path) -> None:
    """One loss falls with the temperature and the other rises: a copy with other logits may stand there too."""
    paths = [write(tmp_path, "a", slope=1.0), write(tmp_path, "b", scaled=0.1, slope=-1.0)]
    assert judged(paths) == Flatness(UNKNOWN, reason=OTHER_SIDE)
    assert "neither is called flatter" in title(paths)
    assert "one loss rises with the temperature of the logits and the other falls" in answered(paths)
    lifted = {"to": SHAS["a"], "loss": 0.1, "scaled": 0.4, "slope": 1.0}  # brought to the other's side
    paths = [write(tmp_path / "x", "a"), write(tmp_path / "x", "b", scaled=0.1, slope=-1.0, lifted=lifted)]
    assert judged(paths).verdict == FLATTER and judged(paths).witnesses[0].ratio == pytest.approx(0.4)
    lifted |= {"slope": -1.0}
    paths = [write(tmp_path / "y", "a"), write(tmp_path / "y", "b", scaled=0.1, slope=-1.0, lifted=lifted)]
    assert judged(paths).verdict == UNKNOWN
    paths = [write(tmp_path / "z", "a", slope=1e-5), write(tmp_path / "z", "b", scaled=0.1, slope=-1.0)]
    assert judged(paths).verdict == FLATTER  # the first at its lowest loss, to rounding


def test_files_of_earlier_versions_are_answered_with_the_command(tmp_path: Path) -> None:
    lifted = {"to": SHAS["a"], "loss": 0.5, "scaled": 0.4, "slope": None}
    paths = [write(tmp_path, "a", loss=0.5), write(tmp_path, "b", loss=0.1, lifted=lifted)]
    assert judged(paths) == Flatness(UNKNOWN, reason=UNTOLD)
    assert "--name train-matched --overwrite" in answered(paths) and "earlier versions" in answered(paths)
    paths = [write(tmp_path / "x", "a"), write(tmp_path / "x", "b", slope=None)]
    assert judged(paths).reason == UNTOLD


def test_one_witness_is_no_verdict_and_another_architecture_none_at_all(tmp_path: Path) -> None:
    older = [write(tmp_path / "o", n, trace=False, scaled=s) for n, s in (("a", 1.0), ("b", 0.1))]
    assert [w.name for w in judged(older).witnesses] == [TOP, ADAPTIVE]
    assert judged(older).verdict == FLATTER
    for path in older:
        with altered(path) as opened:
            del opened["sharpness"]
    assert judged(older).verdict == UNKNOWN and judged(older).reason == FEW_WITNESSES
    others = [write(tmp_path / "m", "a"), write(tmp_path / "m", "b", scaled=0.1, model="wide")]
    assert judged(others) == Flatness(UNKNOWN, reason=NOT_MEASURED)


def test_an_eigenvalue_without_a_known_error_is_no_witness(tmp_path: Path) -> None:
    paths = [write(tmp_path, "a"), write(tmp_path, "b", scaled=0.1, error=np.nan)]
    assert [w.name for w in judged(paths).witnesses] == [ADAPTIVE]


def test_the_rule_and_every_witness_stand_on_the_page(tmp_path: Path) -> None:
    lifted = {"to": SHAS["a"], "loss": 0.5, "scaled": 0.4}
    paths = [write(tmp_path, "a", loss=0.5, norm=37.0), write(tmp_path, "b", loss=0.1, lifted=lifted, norm=23.0)]
    report = write_report(paths, tmp_path / "report.html")
    text = re.sub(r"\s+", " ", report.path.read_text())
    assert "by 1.25× or more beyond their numerical error and none says the opposite" in text
    assert "1 → 0.4 (÷2.5)" in text and "3 → 1.2 (÷2.5)" in text
    assert "weights ‖w‖ 37 → 23 (÷1.61)" in text
    assert any("‖w‖" in caveat and "37" in caveat for caveat in report.caveats)
