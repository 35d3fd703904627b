"""The sentences of a page, each number of them found again in the files by another way than the page's."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape.comparison.compare import compare
from landscape.report.headline import Headline, headline_of
from tests.landscape.altered import altered
from tests.landscape.comparison.make_pair import PAIR, unpacked

WITNESSES = ("λ₁ of |w|H|w|", "trace of |w|H|w|", "adaptive sharpness, ρ 0.1")
RARE = "class:3"
"""The one few-shot class of the files."""


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, ...]:
    return unpacked(tmp_path)


def read(file: Path, key: str, subset: str) -> np.ndarray:
    with h5py.File(file) as opened:
        group = opened[key.rpartition("/")[0]]
        return np.ravel(opened[key][list(group["subset"].asstr()).index(subset)])


def witnesses(file: Path, place: str, subset: str) -> np.ndarray:
    """Value, least and largest of each witness, (3, 3)."""
    top, off, *trace = (
        float(read(file, f"hessian/{place}/{key}", subset)[0])
        for key in ("top_scaled", "top_scaled_residual", "trace_scaled", "trace_scaled_low", "trace_scaled_high")
    )
    adaptive = float(read(file, f"sharpness/{place}/adaptive", subset)[0])
    trace = trace if np.isfinite(trace).all() else [trace[0]] * 3
    return np.array([[top, top - off, top + off], trace, [adaptive] * 3])


def expected(files: Sequence[Path], subset: str) -> tuple[str, np.ndarray]:
    """The verdict on the second network, and the ratios: the one of the lower loss is read where it was lifted."""
    losses = [float(read(file, "evaluation/train/loss", subset)[0]) for file in files]
    places = ["train-matched" if loss == min(losses) else "train" for loss in losses]
    met = [float(read(file, f"hessian/{place}/loss", subset)[0]) for file, place in zip(files, places, strict=True)]
    assert met == pytest.approx([max(losses)] * 2, rel=1e-5)
    before, after = (witnesses(file, place, subset) for file, place in zip(files, places, strict=True))
    low, high = after[:, 1] / before[:, 2], after[:, 2] / before[:, 1]
    flatter, sharper = int((high <= 0.8).sum()), int((low >= 1.25).sum())
    verdict = "flatter" if flatter > 1 and not sharper else "sharper" if sharper > 1 and not flatter else ""
    same = bool(((low > 0.8) & (high < 1.25)).all())
    return verdict or ("equal" if same else "measures disagree"), after[:, 0] / before[:, 0]


def sentences(headline: Headline) -> list[str]:
    lines = [headline.title, *(line for answer in headline.answers for line in answer.lines)]
    return [line.striptags().replace("‑", "-").replace("\N{NARROW NO-BREAK SPACE}", " ") for line in lines]


def number(text: str) -> float:
    """What a figure on the page says: `9.2 × 10⁻⁴`, `0.0545`, `×20`, `÷1.41`, `=`."""
    plain = text.translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹−", "-0123456789-")).replace(" × 10", "e").replace(",", "")
    if plain == "=":
        return 1.0
    return 1 / float(plain[1:]) if plain[0] == "÷" else float(plain.lstrip("×"))


def said(lines: Sequence[str], pattern: str) -> list[list[str]]:
    """The groups of a pattern in every line that it fits."""
    return [list(found.groups()) for line in lines if (found := re.search(pattern, line))]


def test_the_files_are_small() -> None:
    assert 0 < max(path.stat().st_size for path in PAIR.iterdir()) <= 200_000


def test_every_sentence_says_what_the_files_hold(files: tuple[Path, ...]) -> None:
    lines = sentences(headline_of(compare(files), ()))
    verdict, ratios = expected(files, RARE)
    assert verdict == "measures disagree"
    assert lines[0] == (
        "At equal loss decayed is neither flatter nor sharper than plain, for the measures disagree, at the one "
        "few-shot class. Two networks, one seed each."
    )
    ((told, shown),) = said(lines, r"^decayed, at equal loss: 3 ([a-z ]+) \((.*)\)\.$")
    assert told == verdict
    for name, part, ratio in zip(WITNESSES, shown.split("; "), ratios, strict=True):
        assert part.startswith(f"{name} ")
        assert number(part.removeprefix(f"{name} ")) == pytest.approx(ratio, rel=0.025)
    for key, subset, pattern in (
        ("hessian/train/top", "few", r"^decayed, few-shot: λ₁ as it is (.*?) → (.*?) \((.*?)\);"),
        ("evaluation/train/loss", "few", r"^decayed, few-shot: .*; train loss (.*?) → (.*?) \((.*?)\)"),
        ("hessian/train/top", "balanced", r"^decayed, balanced: λ₁ as it is (.*?) → (.*?) \((.*?)\);"),
        ("evaluation/train/loss", "balanced", r"^decayed, balanced: .*; train loss (.*?) → (.*?) \((.*?)\)"),
    ):
        before, after = (float(read(file, key, subset)[0]) for file in files)
        (shown,) = said(lines, pattern)
        assert [number(text) for text in shown] == pytest.approx([before, after, after / before], rel=0.025)
    norms = []
    for file in files:
        with h5py.File(file) as opened:
            norms.append(float(opened["evaluation/train"].attrs["weight_norm"]))
    ((*shown,),) = said(lines, r"^decayed: weights ‖w‖ (.*?) → (.*?) \((.*?)\)\.$")
    assert [number(text) for text in shown] == pytest.approx([*norms, norms[1] / norms[0]], rel=0.025)


def test_the_sharpest_classes_and_the_proofs_are_those_of_each_file(files: tuple[Path, ...]) -> None:
    lines = sentences(headline_of(compare(files), ()))
    for file in files:
        top = {label: float(read(file, "hessian/train/top", f"class:{label}")[0]) for label in "0123"}
        ((shown, few, many, proven),) = said(
            lines,
            rf"^{file.parent.name}: largest λ₁ at (.*?); λ₁ (.*?) over few-shot classes, (.*?) over many-shot classes; "
            r"negative curvature proven at (\d) of 4 classes\.$",
        )
        pairs = re.findall(r"(\d) \((.*?)\)", shown)
        assert [label for label, _ in pairs] == sorted(top, key=lambda label: -top[label])[:3]
        assert [number(text) for _, text in pairs] == pytest.approx([top[label] for label, _ in pairs], rel=0.006)
        assert [number(few), number(many)] == pytest.approx([top["3"], top["0"]], rel=0.006)
        with h5py.File(file) as opened:
            verdicts = opened["hessian/train/verdict"].asstr()[-4:]
        assert int(proven) == sum(verdict == "negative" for verdict in verdicts)


@pytest.mark.parametrize(
    ("scale", "verdict"), [(0.2, "flatter than plain"), (9.0, "sharper than plain"), (None, "as flat as plain")]
)
def test_other_numbers_make_other_sentences(files: tuple[Path, ...], scale: float | None, verdict: str) -> None:
    """The same files with the second network's witnesses rescaled, or made those of the first."""
    keys = ("top_scaled", "top_scaled_residual", "trace_scaled", "trace_scaled_low", "trace_scaled_high")
    with h5py.File(files[0]) as first, altered(files[1]) as second:
        for place in ("train", "train-matched"):
            source = "train-matched" if place == "train" else "train"
            for name in (*(f"hessian/{{}}/{key}" for key in keys), "sharpness/{}/adaptive"):
                own = second[name.format(place)]
                own[...] = first[name.format(source)][()] if scale is None else scale * own[()]
    told, ratios = expected(files, RARE)
    title = sentences(headline_of(compare(files), ()))[0]
    assert title.startswith(f"At equal loss decayed is {verdict} at the one few-shot class")
    assert told == {"as": "equal"}.get(verdict.split()[0], verdict.split()[0])
    if scale is not None:
        (shown,) = said([title], r"\(λ₁ of \|w\|H\|w\| (.*?)\)\. Two networks, one seed each\.$")
        assert number(shown[0]) == pytest.approx(ratios[0], rel=0.025)
