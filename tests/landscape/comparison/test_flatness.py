"""Which network is called flatter: only what scale-free measures at equal loss say, and nothing where they do not."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from foundation.errors import InputError
from landscape.comparison.caveats.collect import caveats_of
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
from landscape.report.headline import headline_of
from landscape.report.write import write_report
from tests.landscape.altered import altered
from tests.landscape.report.synthetic import open_recording, put, subsets_of

COUNTS, NAMES = (300, 60, 12, 8), ("dog", "cat", "owl", "elk")
SHAS = {
    name: hashlib.sha256(name.encode()).hexdigest()
    for name in ("a", "b", *(f"{method}{seed}" for method in "ab" for seed in range(6)))
}


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


def write(
    folder: Path,
    name: str,
    *,
    top: float = 1.0,
    scaled: float = 1.0,
    loss: float = 0.1,
    lifted: Mapping[str, object] | None = None,
    trace: bool = True,
    error: float = 0.01,
    model: str = "cnn",
    norm: float | None = None,
    slope: float | None = 1.0,
) -> Path:
    """A run; `lifted` says what it shows at the other run's loss (`to`, `loss`, `scaled`, `temperature`, `slope`)."""
    file = folder / name / "landscape.h5"
    file.parent.mkdir(parents=True, exist_ok=True)
    told = {"slope": 1.0, "temperature": 2.0, **(lifted or {})}
    shutil.copy(built(bool(lifted), trace, model, norm, slope is None, told["slope"] is None), file)
    with altered(file) as opened:
        opened.attrs["checkpoint_sha256"] = SHAS[name]
        places = {"train": {"scaled": scaled, "loss": loss, "slope": slope}} | (
            {"train-matched": told} if lifted else {}
        )
        for place, say in places.items():
            hessian, sharpness = opened[f"hessian/{place}"], opened[f"sharpness/{place}"]
            values = {
                hessian: {
                    "top": top, "top_scaled": say["scaled"], "top_scaled_residual": error * say["scaled"],
                    "trace_scaled": 3 * say["scaled"], "trace_scaled_se": error * say["scaled"], "loss": say["loss"],
                },
                sharpness: {"adaptive": say["scaled"], "loss": say["loss"]},
            }  # fmt: skip
            if place == "train":
                values[opened["evaluation/train"]] = {"loss": loss, "loss_slope": slope}
            else:
                for group in (hessian, sharpness):
                    values[group] |= {"temperature": told["temperature"], "loss_slope": told["slope"]}
                    group.attrs["config"] = json.dumps(json.loads(group.attrs["config"]) | {"match_loss": told["to"]})
            for group, numbers in values.items():
                for key, value in numbers.items():
                    if key in group:
                        group[key][...] = value
    return file


_place = tempfile.TemporaryDirectory(prefix="landscape-", ignore_cleanup_errors=True)
"""Of the runs that were built; it goes with the process."""


@functools.cache
def built(lifted: bool, trace: bool, model: str, norm: float | None, flat: bool, flat_lifted: bool) -> Path:
    """A run with nothing but ones, once for all tests. `flat` leaves slopes out."""
    file = Path(tempfile.mkdtemp(dir=_place.name)) / "landscape.h5"
    subsets = subsets_of(COUNTS, NAMES)
    ones = np.ones(len(subsets))
    common = {"split": "train", "model": model}
    with open_recording(file, "evaluation", "train", subsets, **common) as record:
        for key in ("loss",) if flat else ("loss", "loss_slope"):
            put(record, key, ones, ("subset",))
        record.finish()
    hessian = ["top_scaled", "top_scaled_residual", *(("trace_scaled", "trace_scaled_se") if trace else ())]
    for analysis, name in itertools.product(("hessian", "sharpness"), ("train", "train-matched")[: 1 + lifted]):
        extra = {"match_loss": "c" * 64} if name == "train-matched" else {}
        with open_recording(file, analysis, name, subsets, **common, **extra) as record:
            keys = ["loss", *(hessian if analysis == "hessian" else ())]
            keys += [*(("temperature",) if extra else ()), *(("loss_slope",) if extra and not flat_lifted else ())]
            for key in keys:
                put(record, key, ones, ("subset",))
            if analysis == "hessian":
                put(record, "top", ones[:, None], ("subset", "rank"))
                put(record, "status", ones.astype("i1"), ("subset",))
            else:
                record.scale("radius", np.array([0.05, 0.1]))
                put(record, "adaptive", np.ones((len(subsets), 2)), ("subset", "radius"))
            if norm is not None:
                record.note("weight_norm", norm)
            record.finish()
    return file


def judged(paths: Sequence[Path]) -> Flatness:
    """The verdict on the rarest class."""
    compared = compare(paths)
    return compared.flatness[1][-1]


def title(paths: Sequence[Path]) -> str:
    return re.sub("<[^>]+>", "", str(headline_of(compare(paths), ()).title)).replace("‑", "-")


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


def answered(paths: Sequence[Path]) -> str:
    return " ".join(headline_of(compare(paths), ()).answers[1].lines)


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


def write_seeds(
    folder: Path, seeds: int, *, lr: float = 0.1, error: float = 0.0, partners: Sequence[int] | None = None
) -> tuple[list[Path], np.ndarray]:
    """Runs of two methods, b flatter by about 2.5 times; the ratios of λ₁. `partners` are the seeds of b."""
    rng = np.random.default_rng(0)
    ratios = 0.4 * np.exp(0.1 * rng.standard_normal(seeds))
    partners = range(seeds) if partners is None else partners
    paths = []
    for method, of in (("a", range(seeds)), ("b", partners)):
        for seed in of:
            scaled = 1.0 if method == "a" else ratios[seed % seeds]
            paths.append(write(folder, f"{method}{seed}", scaled=scaled, error=error))
            recipe = {"method": method, "seed": seed, "out": str(paths[-1]), "lr": lr if seed else 0.1}
            paths[-1].with_name("config.json").write_text(json.dumps(recipe))
    return paths, ratios


def test_five_pairs_of_seeds_allow_a_sentence_about_methods(tmp_path: Path) -> None:
    paths, ratios = write_seeds(tmp_path, 5)
    compared = compare(paths)
    assert [run.configuration for run in compared.runs] == [0] * 5 + [1] * 5
    (seeds,) = compared.seeds
    assert (seeds.first, seeds.second, seeds.unpaired) == ((0, 1, 2, 3, 4), (5, 6, 7, 8, 9), ())
    theirs = stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95)
    top = seeds.flatness[-1].witnesses[0]
    np.testing.assert_allclose([top.low, top.high], np.exp([theirs.low, theirs.high]), rtol=1e-9)
    np.testing.assert_allclose(top.ratio, stats.gmean(ratios))
    assert seeds.flatness[-1].verdict == FLATTER and seeds.flatness[-1].loss == pytest.approx(0.1)
    text = title(paths)
    assert text.startswith("Over 5 pairs of seeds, at equal loss, b is flatter than a at all 2 few-shot classes")
    report = write_report(paths, tmp_path / "report.html")
    assert any("“a” (5 seeds) and “b” (5 seeds)" in caveat for caveat in report.caveats)
    assert "b against a over 5 pairs of seeds" in report.path.read_text()


def test_runs_are_paired_by_their_seed_not_by_their_order(tmp_path: Path) -> None:
    """And runs without a partner are told, not cut."""
    paths, ratios = write_seeds(tmp_path, 6, partners=(5, 1, 4, 2, 3))
    (seeds,) = compare(paths).seeds
    assert (seeds.first, seeds.second) == ((1, 2, 3, 4, 5), (7, 9, 10, 8, 6)) and seeds.unpaired == (0,)
    assert [round(w, 9) for w in (seeds.flatness[-1].witnesses[0].ratio,)] == [round(stats.gmean(ratios[1:]), 9)]
    assert title(paths).startswith("Over 5 pairs of seeds") and "1 run without a partner of the same seed." in title(
        paths
    )
    assert any("Without a partner in every comparison: “a0”" in caveat.text for caveat in caveats_of(compare(paths), 0))


def test_seeds_that_are_not_shared_make_no_pair(tmp_path: Path) -> None:
    paths, _ = write_seeds(tmp_path / "a", 2, partners=())
    assert title(paths) == "At equal loss a1 is as flat as a0 at all 2 few-shot classes. Two seeds of one method."
    paths, _ = write_seeds(tmp_path / "b", 3, partners=(4,))
    assert title(paths) == (
        "a and b share no seed: nothing allows a claim about methods. 4 runs without a partner of the same seed."
    )
    paths, _ = write_seeds(tmp_path / "c", 5, partners=(2,))  # no sentence about two networks of one seed each
    assert title(paths) == (
        "a and b over 1 pair of seeds: fewer than 5 allow no claim about methods. "
        "4 runs without a partner of the same seed."
    )
    assert {found.verdict for found in compare(paths).seeds[0].flatness} == {UNKNOWN}


def test_numerical_errors_of_the_pairs_widen_the_interval(tmp_path: Path) -> None:
    """Five seeds that agree to the last digit are as uncertain as each of them."""
    paths, ratios = write_seeds(tmp_path, 5, error=0.2)
    top = compare(paths).seeds[0].flatness[-1].witnesses[0]
    theirs = np.exp(stats.ttest_1samp(np.log(ratios), 0).confidence_interval(0.95))
    np.testing.assert_allclose([top.low, top.high], [theirs[0] * 0.8 / 1.2, theirs[1] * 1.2 / 0.8], rtol=1e-9)


def test_fewer_seeds_or_another_configuration_allow_none(tmp_path: Path) -> None:
    paths, _ = write_seeds(tmp_path / "few", 4)
    assert title(paths) == "a and b over 4 pairs of seeds: fewer than 5 allow no claim about methods."
    assert {flatness.verdict for flatness in compare(paths).seeds[0].flatness} == {UNKNOWN}
    others, _ = write_seeds(tmp_path / "other", 2, lr=0.2)  # the second pair was trained otherwise
    assert compare(others).seeds == ()
    assert [run.method for run in compare(others).runs] == ["a (lr 0.1)", "a (lr 0.2)", "b (lr 0.1)", "b (lr 0.2)"]
    assert title(others[::2]).endswith("Two networks, one seed each.")


def test_runs_are_grouped_by_name_where_nothing_else_tells(tmp_path: Path) -> None:
    paths, _ = write_seeds(tmp_path, 5)
    for path in paths:
        path.with_name("config.json").unlink()
    assert compare(paths).seeds == ()
    groups = {"CE": "a*", "BGP": "b?"}
    report = write_report(paths, tmp_path / "report.html", groups=groups)
    assert report.claim.startswith("Over 5 pairs of seeds, at equal loss, BGP is flatter than CE")
    assert (compare(paths, groups).seeds[0].first, compare(paths, groups).seeds[0].second) == (
        (0, 1, 2, 3, 4), (5, 6, 7, 8, 9),
    )  # fmt: skip
    with pytest.raises(InputError, match=r"--group CE=c\* fits no run: they are a0, a1"):
        compare(paths, {"CE": "c*"})
    with pytest.raises(InputError, match="--group puts 'a0' into CE and all"):
        compare(paths, {"CE": "a*", "all": "*0"})


def test_scattered_seeds_are_no_difference(tmp_path: Path) -> None:
    paths, _ = write_seeds(tmp_path, 5)
    for path, scale in zip(paths[5:], (0.1, 9.0, 0.2, 5.0, 1.0), strict=True):
        with altered(path) as opened:
            for key in ("hessian/train/top_scaled", "hessian/train/trace_scaled", "sharpness/train/adaptive"):
                opened[key][...] = scale
    assert compare(paths).seeds[0].flatness[-1].verdict == UNCERTAIN
    assert "not told apart from a within the errors" in title(paths)
