"""Seeds of one method: paired, averaged with an interval, and told as what they allow to say."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from foundation.errors import InputError
from landscape.comparison.caveats.collect import caveats_of
from landscape.comparison.compare import compare
from landscape.comparison.flatness import (
    FLATTER,
    UNCERTAIN,
    UNKNOWN,
)
from landscape.report.write import write_report
from tests.landscape.altered import altered
from tests.landscape.comparison.flat_runs import title, write


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
