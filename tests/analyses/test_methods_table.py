"""The methods table: intervals against closed forms, and a small table from end to end."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from analyses.methods_table import METHODS, PAIRS, check_settings, configuration, markdown, methods_table, tabulate
from foundation.errors import InputError
from training import train
from training.data import open_data
from training.methods.method import build_method

LABELS = np.repeat(np.arange(10), 200)
GROUPS = {"all": range(10), "many": range(4), "medium": range(4, 7), "few": range(7, 10)}


def runs(chance, seeds=5, seed=0):
    return np.random.default_rng(seed).random((seeds, len(LABELS))) < chance


def test_accuracies_and_their_binomial_spread():
    table = tabulate({"ce": runs(0.7, seeds=1)}, LABELS, GROUPS)
    found = table.accuracy["ce"]["few"]
    right = runs(0.7, seeds=1)[0, LABELS >= 7]
    assert found.mean == pytest.approx(100 * right.mean())
    spread = 100 * np.sqrt(sum(right[k : k + 200].var() * 200 for k in (0, 200, 400))) / 600  # within classes
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * spread, rel=0.08)


def test_differences_are_paired_by_seed():
    base, other = runs(0.6), runs(0.6, seed=1)
    other[:, LABELS >= 7] |= runs(0.2, seed=2)[:, LABELS >= 7]
    difference = tabulate({"ce": base, "bgp": other}, LABELS, GROUPS).differences["ce", "bgp"]["few"]
    few = [100 * values[:, LABELS >= 7].mean(1) for values in (other, base)]
    expected = stats.ttest_rel(*few).confidence_interval()
    assert (difference.over_seeds.low, difference.over_seeds.high) == pytest.approx(tuple(expected))
    assert difference.over_seeds.mean == difference.over_images.mean == pytest.approx(few[0].mean() - few[1].mean())
    assert difference.verdict == "yes"


def test_a_constant_gain_on_the_same_images_has_no_spread_over_seeds():
    base = np.repeat(runs(0.5, seeds=1), 3, axis=0)
    other = base | (np.arange(len(LABELS)) % 10 == 0)
    table = tabulate({"ce": base, "bgp": other}, LABELS, GROUPS)
    seeds = table.differences["ce", "bgp"]["all"].over_seeds
    assert seeds.low == pytest.approx(seeds.high) and seeds.mean > 0
    same = tabulate({"ce": base, "bgp": base}, LABELS, GROUPS).differences["ce", "bgp"]["all"]
    assert same.verdict == "open" and same.over_images.low == same.over_images.high == 0
    worse = tabulate({"ce": other, "bgp": base}, LABELS, GROUPS).differences["ce", "bgp"]["all"]
    assert worse.verdict == "no"


def test_one_seed_gives_no_verdict():
    table = tabulate({"ce": runs(0.2, seeds=1), "bgp": runs(0.9, seeds=1)}, LABELS, GROUPS)
    assert table.differences["ce", "bgp"]["few"].verdict == "open"
    text = markdown(table)
    assert "test images, one seed, with" in text and "bgp - ce" not in text and "inf" not in text


def test_rows_name_methods_and_pairs_name_rows():
    for method, kwargs in METHODS.values():
        build_method(method, [600, 50, 6], **kwargs)
    assert {name for pair in PAIRS for name in pair} <= set(METHODS)


def test_a_small_table_is_the_same_when_it_is_continued(tmp_path, monkeypatch):
    small = lambda *args, **kwargs: replace(configuration(*args, **kwargs), model_kwargs={"widths": [2]})  # noqa: E731
    monkeypatch.setattr("analyses.methods_table.configuration", small)
    test = open_data("fashion-mini").test
    table = methods_table(tmp_path, methods=["ce", "bgp"], seeds=2, epochs=1, test=test)
    assert table.images == 1000 and table.seeds == 2
    text = markdown(table)
    assert "| bgp - ce |" in text and "1,000 test images, mean of 2 seeds" in text
    assert methods_table(tmp_path, methods=["ce", "bgp"], seeds=2, epochs=1, test=test) == table


def test_a_run_with_other_settings_than_the_methods_are_now_is_refused(tmp_path):
    run = train(replace(configuration(tmp_path, "bgp", seed=0, epochs=1), model_kwargs={"widths": [2]}))
    check_settings(run)
    other = replace(run, config=replace(run.config, method_kwargs={"weight": 3.0}))  # as if 3 were the default by now
    with pytest.raises(InputError, match="move the folder away"):
        check_settings(other)
