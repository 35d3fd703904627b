"""What the page says of a file: the right figures, intervals, groups, words and warnings."""

from __future__ import annotations

import json
import re
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import stats

from landscape.comparison.compare import compare
from landscape.comparison.formatting import factor, figure, listing, percent
from landscape.comparison.rows import rows_of
from landscape.comparison.runs import open_runs
from landscape.comparison.table import tabulate, wilson
from landscape.files.landscape_file import read_landscape
from landscape.files.unit_folder import partial_path
from landscape.report import write_report
from landscape.report.headline import headline_of
from landscape.report.palette import diverging
from landscape.report.payload import budget
from landscape.report.payload.loss_grids import pack_surfaces
from landscape.report.render import escape_json
from tests.landscape.altered import altered
from tests.landscape.report.synthetic import COUNTS, NAMES, open_recording, put, subsets_of, write_run


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.02134, "0.0213"), (41.23, "41.2"), (1830.4, "1,830"), (2.13e-6, "2.1 × 10⁻⁶"), (1e-7, "10⁻⁷"), (0, "0"),
        (-0.5, "−0.5"), (999.6, "1,000"), (float("inf"), "∞"), (float("-inf"), "−∞"), (float("nan"), "not a number"),
        (1234567.0, "1.2 × 10⁶"), (0.00099996, "0.001"),
    ],
)  # fmt: skip
def test_figures_have_three_digits(value: float, text: str) -> None:
    assert figure(value) == text


def test_ratios_and_lists_in_words() -> None:
    assert [factor(r) for r in (8.0, 1 / 8, 1.3, 1.01, 120, float("nan"), -1)] == [
        "×8.0", "÷8.0", "×1.30", "=", "×120", "no ratio", "no ratio",
    ]  # fmt: skip
    assert percent(0.7204) == "72.0 %"
    assert listing(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"
    assert listing(["a", "b"]) == "a and b"


def test_wilson_interval_is_that_of_scipy() -> None:
    for right, count in ((0, 6), (6, 6), (3, 10), (550, 600)):
        low, high = wilson(np.array([right / count]), np.array([count]))
        theirs = stats.binomtest(right, count).proportion_ci(0.95, method="wilson")
        np.testing.assert_allclose([low[0], high[0]], [theirs.low, theirs.high], rtol=1e-6, atol=1e-12)


def test_the_table_holds_the_files_numbers(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run" / "landscape.h5", points=5)
    runs = open_runs([file])
    rows = rows_of(runs)
    assert [row.name for row in rows[:5]] == ["all", "balanced", "many", "medium", "few"]
    assert [row.title for row in rows[5:]] == list(NAMES)
    assert [row.group for row in rows[5:]] == ["many"] * 4 + ["medium"] * 3 + ["few"] * 3
    table = tabulate(runs, rows)
    assert [view.name for view in table.views] == ["train", "test"]
    with h5py.File(file) as opened:
        group = opened["hessian/train"]
        columns = table.views[0].columns[0]
        np.testing.assert_array_equal(columns["top"].value, group["top"][:, 0])
        np.testing.assert_array_equal(columns["bottom"].value, group["bottom"][:, 0])
        np.testing.assert_allclose(columns["ratio"].value, abs(group["bottom"][:, 0]) / group["top"][:, 0])
        top = columns["top"]
        assert top.low is not None
        np.testing.assert_allclose(top.value - top.low, group["top_residual"][:, 0], rtol=1e-9)
        sharpness = opened["sharpness/train"]
        np.testing.assert_array_equal(columns["sam_steps@0.1"].value, sharpness["sam_steps"][:, 1])
        assert list(table.views[0].verdicts[0]) == [v.decode() for v in group["verdict"][()]]
    assert table.sharpness == "sam_steps@0.1"


def test_bars_run_from_the_held_out_eigenvalue_to_the_plain_one(tmp_path: Path) -> None:
    runs = open_runs([write_run(tmp_path / "run" / "landscape.h5", points=5, deep=True)])
    rows = rows_of(runs)
    table = tabulate(runs, rows)
    columns = table.views[0].columns[0]
    with h5py.File(runs[0].landscape.path) as file:
        group = {name: dataset[()] for name, dataset in file["hessian/train"].items()}
    for key, low_end, high_end in (("top", "top_held_out", "top"), ("bottom", "bottom", "bottom_held_out")):
        half = 1.959964 * group[f"{key}_held_out_se"][:, 0]
        np.testing.assert_allclose(columns[key].low, group[low_end][:, 0] - half)
        np.testing.assert_allclose(columns[key].high, group[high_end][:, 0] + half)
        held = columns[f"{key}_held_out"]
        np.testing.assert_allclose(held.value, group[f"{key}_held_out"][:, 0])
        np.testing.assert_allclose(held.high - held.value, half)
        assert np.isnan(columns[key].low[-3:]).all()  # 16, 10 and 6 samples
    np.testing.assert_allclose(columns["negative_share"].low[0], 0.0)
    np.testing.assert_allclose(columns["frobenius"].high, group["frobenius"] + 1.959964 * group["frobenius_se"])
    assert np.isfinite(columns["gauss_newton_top"].value).sum() == 7
    trace = columns["trace"]
    np.testing.assert_allclose(trace.low[::2], group["trace_low"][::2])
    np.testing.assert_allclose(trace.high[::2], group["trace_high"][::2])
    assert np.isfinite(trace.value).all() and np.isnan(trace.low[1::2]).all() and np.isnan(trace.high[1::2]).all()
    words = {measure.key: measure.error for measure in table.measures}
    assert "without a bar" in words["top"] and "over the samples" in words["bottom_held_out"]
    older = open_runs([write_run(tmp_path / "older" / "landscape.h5", points=5)])
    assert all("residual" in m.error for m in tabulate(older, rows).measures if m.key in ("top", "bottom"))


def test_pyhessian_and_held_out_samples_have_their_say(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run" / "landscape.h5", points=5, deep=True)
    with altered(file) as opened:
        opened["hessian/train/top_held_out"][6, 0] = 0.1 * opened["hessian/train/top"][6, 0]
    told = "\n".join(write_report([file], tmp_path / "report.html").caveats)
    assert "PyHessian agrees on the eigenvalue of largest magnitude within 0.4 % for 2 of 3 subsets" in told
    assert "PyHessian disagrees on “Ankle boot”" in told
    assert "the sharpest directions of “Trouser” belong to their samples more than to the class" in told


def test_matrices_count_toward_the_pages_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = compare([write_run(tmp_path / "plain" / "landscape.h5", points=5, cross=False)])
    crossed = compare([write_run(tmp_path / "crossed" / "landscape.h5", points=5)])
    cells = 3 * 15 * 25 + 2 * 15 * 25  # loss and accuracy of a plane and of a line, and the plane's errors
    monkeypatch.setattr(budget, "BUDGET", (cells + 2 * 4 * 15 * 256) * 8 // 3)
    monkeypatch.setattr(budget, "EXTREMES", 2)
    kept = [budget.choose_rows(c.runs, c.rows, np.arange(15.0)) for c in (plain, crossed)]
    assert kept[0] == frozenset(range(15))
    assert kept[1] == frozenset((0, 1, 2, 3, 4, 5, 6, 13, 14))


def test_classes_go_from_head_to_tail_and_names_stay_apart(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a" / "landscape.h5", counts=(5, 50), names=("cat", "cat"), points=5)
    second = write_run(tmp_path / "b" / "landscape.h5", counts=(5, 50), names=("cat", "dog"), points=5)
    rows = [row for row in rows_of(open_runs([first, second])) if row.kind == "class"]
    assert [(row.title, row.train_count) for row in rows] == [
        ("cat (class 1)", 50), ("dog", 50), ("cat (class 0)", 5),
    ]  # fmt: skip


def test_runs_are_named_by_what_tells_them_apart(tmp_path: Path) -> None:
    paths = [tmp_path / name / "landscape.h5" for name in ("one/ce", "two/ce", "bgp")]
    for path in paths:
        write_run(path, parts=("evaluation",), splits=("train",), history=False)
    assert [run.name for run in open_runs(paths)] == ["one/ce", "two/ce", "bgp"]
    assert [run.name for run in open_runs(paths[1:])] == ["ce", "bgp"]


def test_raw_change_stands_second_with_the_loss_beside_it(tmp_path: Path) -> None:
    paths = [
        write_run(tmp_path / "ce" / "landscape.h5", points=5),
        write_run(tmp_path / "bgp" / "landscape.h5", points=5, sharpness=0.25, matched=True),
    ]
    with altered(paths[0]) as first, altered(paths[1]) as second:
        for file, few, loss in ((first, 200.0, 0.01), (second, 50.0, 0.03)):
            file["hessian/train/top"][4, 0] = few
            file["hessian/train/loss"][4] = loss
    headline = headline_of(compare(paths), [])
    text = re.sub("<[^>]+>", "", str(headline.title)).replace("‑", "-")
    assert text == (
        "ce and bgp, class by class: neither is called flatter before two scale-free measures at equal loss say so."
    )
    change = re.sub("<[^>]+>", "", " ".join(headline.answers[1].lines))
    assert "nothing was measured at equal loss" in change
    assert "λ₁ as it is 200 → 50 (÷4.0); train loss 0.01 → 0.03 (×3.0)" in change


def test_one_run_is_told_in_ranges_over_classes(tmp_path: Path) -> None:
    path = write_run(tmp_path / "ce" / "landscape.h5", points=5)
    with altered(path) as file:
        file["hessian/train/top"][[2, 4], 0] = [np.nan, 200.0]  # groups measured as one say nothing here
        file["hessian/train/top"][5:9] = np.nan
        file["hessian/train/top"][5:7, 0] = [10.0, 4.0]
        file["hessian/train/top"][12:15, 0] = [30.0, 90.0, 60.0]
    text = re.sub("<[^>]+>", "", str(headline_of(compare([path]), []).title)).replace("‑", "-")
    assert (
        text
        == "At the weights of ce, λ₁ of the loss is 30 to 90 for few-shot classes and 4 to 10 for many-shot classes."
    )


def test_what_the_hessian_left_out_is_taken_from_the_evaluation(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run" / "landscape.h5", points=5, matched=True)
    with altered(file) as opened:
        for name in ("train", "train-matched"):
            opened[f"hessian/{name}/loss"][0] = np.nan
        expected = opened["evaluation/train/loss"][0]
    views = {view.name: view.columns[0]["loss"].value for view in compare([file]).table.views}
    assert views["train"][0] == expected
    assert np.isnan(views["train-matched"][0])  # at another temperature the evaluation's loss is another quantity


def test_a_surface_of_its_own_name_makes_no_view_and_names_the_runs_it_goes_through(tmp_path: Path) -> None:
    subsets = subsets_of(COUNTS, NAMES)
    files = [write_run(tmp_path / name / "landscape.h5", points=5) for name in ("ce", "bgp")]
    theirs = read_landscape(files[1]).checkpoint_sha256
    with open_recording(files[0], "evaluation", "both", subsets, split="train") as record:
        put(record, "loss", np.ones(len(subsets)), ("subset",))
        record.finish()
    points = ["this checkpoint", "/far/away/bgp/checkpoint.pt", "runs/ce/snapshots/epoch-0009.pt"]
    with open_recording(
        files[0], "surface", "both", subsets, split="train", plane="checkpoints", through=[theirs, "0" * 64]
    ) as record:
        put(record, "loss", np.ones((len(subsets), 3, 3)), ("subset", "b", "a"))
        record.scale("trajectory/point", np.array(points, dtype=object))
        put(record, "trajectory/coordinates", np.eye(3)[:, :2], ("point", "axis"))
        record.note("axes", [f"toward {point}" for point in points[1:]])
        record.finish()
    runs = open_runs(files)
    rows = rows_of(runs)
    assert [view.name for view in tabulate(runs, rows).views] == ["train", "test"]
    known = {run.landscape.checkpoint_sha256: run.name for run in runs}
    plane = next(p for p in pack_surfaces(runs[0], rows, frozenset(), known) if p["name"] == "both")
    assert plane["path"]["names"] == ["ce", "bgp", "epoch-0009"]
    assert plane["axes"] == ["toward bgp", "toward epoch-0009"]


def test_every_weakness_is_told(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a" / "landscape.h5", spoil=True, trajectory=True, points=11)
    second = write_run(tmp_path / "b" / "landscape.h5", sharpness=0.2, points=11)
    with altered(first) as file:
        file["hessian/train/top_residual"][6, 0] = 99.0
        file["hessian/train/loss"][3] = 1e-5
        file["hessian/train/verdict"][1] = b"undecided"
        file["hessian/train"].attrs["config"] = json.dumps({"split": "train", "dtype": "float64"})
    told = "\n".join(write_report([first, second], tmp_path / "report.html").caveats)
    for words in (
        "differ in train loss by up to", "“Ankle boot” was measured on 6 samples", "converged; the least certain is",
        "± 99 (“Trouser”)", "below 0.001 (lowest 10⁻⁵)", "is undecided", "not told from zero",
        "2 of 121 points are not finite",
        "of the points are interpolated, with stated errors up to 0.01", "60.0 % of the distance",
        "differs in the number format",
        "They sit on a slope", "Each run is one trained network", "In networks with ReLU",
    ):  # fmt: skip
        assert words in told, words


def test_one_idea_is_one_caveat(tmp_path: Path) -> None:
    """What holds for two runs on two splits is said once, with all places where it holds."""
    paths = [write_run(tmp_path / name / "landscape.h5", points=5) for name in ("a", "b")]
    for path in paths:
        with altered(path) as file:
            for split in ("train", "test"):
                file[f"hessian/{split}/gradient_norm"][3] = 7.0
    told = write_report(paths, tmp_path / "report.html").caveats
    (slopes,) = [caveat for caveat in told if "slope" in caveat]
    assert slopes.count("steepest") == 4 and slopes.count("They sit on a slope") == 1
    (small,) = [caveat for caveat in told if "Ankle boot” was measured on 6 samples" in caveat]
    assert small.endswith("their intervals wide.")


def test_a_damaged_unfinished_measurement_is_left_out_and_told(tmp_path: Path) -> None:
    file = write_run(tmp_path / "a" / "landscape.h5", parts=("evaluation",), splits=("train",))
    with open_recording(file, "hessian", "train", subsets_of(COUNTS, NAMES)) as record:
        put(record, "loss", np.zeros(len(record.contents.table["subset"])), ("subset",))  # left unfinished
    (unit,) = partial_path(file, "hessian", "train").glob("*.unit")
    unit.write_bytes(unit.read_bytes()[:100])
    told = write_report([file], tmp_path / "report.html").caveats
    assert any("cannot be read" in caveat for caveat in told)


def test_the_same_checkpoint_twice_is_told(tmp_path: Path) -> None:
    first = write_run(tmp_path / "a" / "landscape.h5", parts=("evaluation",), splits=("train",))
    second = tmp_path / "b" / "landscape.h5"
    second.parent.mkdir()
    second.write_bytes(first.read_bytes())
    told = write_report([first, second], tmp_path / "report.html").caveats
    assert any("the very same checkpoint" in caveat for caveat in told)


def test_the_page_is_whole_safe_and_the_same_each_time(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run" / "landscape.h5", points=5)
    first = write_report([file], tmp_path / "one.html")
    second = write_report([file], tmp_path / "two.html")
    text = first.path.read_text()
    assert text == second.path.read_text()
    assert first.size == first.path.stat().st_size
    policy = text[: text.index("<title>")]
    assert "default-src &#39;none&#39;" in policy and "unsafe-eval" not in policy
    assert text.count("<script") - text.count('"<script') >= 3
    assert not re.search(
        r"<(?:link|script|img|iframe)[^>]+(?:src|href)=[\"']?https?:", text[: text.index("plotly.js v")]
    )


def test_json_is_inert_in_a_script_element() -> None:
    text = escape_json({"a": "</script><!--&\u2028"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": "</script><!--&\u2028"}


@pytest.mark.parametrize("dark", [False, True])
def test_diverging_colors_are_even_in_lightness_and_neutral_in_the_middle(dark: bool) -> None:
    colors = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] for c in diverging(dark=dark)]
    assert len(colors) == 33
    assert max(colors[16]) - min(colors[16]) < 0.02
    luminance = np.array([0.2126 * r**2.2 + 0.7152 * g**2.2 + 0.0722 * b**2.2 for r, g, b in colors])
    lightness = np.cbrt(luminance)
    steps = np.diff(lightness)
    assert np.all(steps[:16] * (1 if not dark else -1) > 0)
    assert np.all(steps[16:] * (-1 if not dark else 1) > 0)
    assert np.abs(lightness - lightness[::-1]).max() < 0.06


def test_partly_measured_subsets_leave_gaps(tmp_path: Path) -> None:
    file = write_run(tmp_path / "run" / "landscape.h5", parts=("evaluation",), splits=("train",))
    subsets = [s for s in subsets_of(COUNTS, NAMES) if s.name in ("few", "class:9")]
    with open_recording(file, "hessian", "train", subsets) as record:
        put(record, "top", np.array([[3.0], [4.0]]), ("subset", "rank"))
        record.finish()
    runs = open_runs([file])
    rows = rows_of(runs)
    top = tabulate(runs, rows).views[0].columns[0]["top"].value
    assert np.isfinite(top).sum() == 2
    assert top[[row.name for row in rows].index("class:9")] == 4.0
