"""Figures for papers: every kind is written, names are set as they are, the table is sound LaTeX."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import h5py
import pytest

from foundation.errors import InputError
from landscape.figures import write_figures
from landscape.figures.__main__ import main
from landscape.figures.latex import escaped
from tests.landscape.report.synthetic import write_run


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    names = ("T-shirt", "50 % off & $x_1$", "{a}\\b~^", "", "北京", "x" * 100, "Shirt", "Sneaker", "Bag", "Boot")
    return [
        write_run(folder / "ce" / "landscape.h5", names=names, points=7, spoil=True, deep=True),
        write_run(folder / "bgp_#1" / "landscape.h5", names=names, points=7, sharpness=0.3, seed=1),
    ]


@pytest.mark.exhaustive
def test_every_figure_in_every_format(files: list[Path], tmp_path: Path) -> None:
    made, folder = write_figures(files, tmp_path, formats=("pdf", "png", "svg")), tmp_path
    assert {path.name for path in made.paths} == {
        f"{name}.{form}" for name in ("bars", "spectra", "ridgelines", "contours") for form in ("pdf", "png", "svg")
    } | {"table.tex", "captions.txt"}
    assert made.missing == ()
    assert (folder / "bars.pdf").read_bytes().startswith(b"%PDF")
    assert b"/Type3" not in (folder / "bars.pdf").read_bytes()
    assert (folder / "bars.png").read_bytes().startswith(b"\x89PNG")
    texts = "".join(ElementTree.parse(folder / "bars.svg").getroot().itertext())
    assert "T-shirt" in texts and "50 % off & $x_1$" in texts


def test_the_same_numbers_make_the_same_file(tmp_path: Path) -> None:
    file = write_run(tmp_path / "ce" / "landscape.h5", counts=(60, 12), names=("head", "tail"), points=4)
    made, again = (write_figures([file], tmp_path / name, formats=("pdf",)).paths for name in ("made", "again"))
    assert {path.name for path in made if path.suffix == ".pdf"} == {
        f"{name}.pdf" for name in ("bars", "spectra", "ridgelines", "contours")
    }
    for one, other in zip(made, again, strict=True):
        assert one.read_bytes() == other.read_bytes()


def test_the_table_is_well_formed(files: list[Path], tmp_path: Path) -> None:
    write_figures(files, tmp_path, split="test", formats=())
    text = (tmp_path / "table.tex").read_text()
    columns = re.search(r"\\begin\{tabular\}\{([lr]+)\}", text)
    assert columns is not None
    lines = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert all(len(re.findall(r"(?<!\\)&", line)) == len(columns[1]) - 1 for line in lines)
    assert r"bgp\_\#1" in text and r"50 \% off \& \$x\_1\$" in text
    assert text.count(r"\textbf{") > 0
    assert r"\toprule" in text and r"\bottomrule" in text
    without = re.sub(r"\\[{}]", "", text)
    assert without.count("{") == without.count("}")


def test_latex_sets_every_character_as_itself() -> None:
    assert escaped("a_b&c%d$e#f{g}~^\\") == (
        r"a\_b\&c\%d\$e\#f\{g\}\textasciitilde{}\textasciicircum{}\textbackslash{}"
    )
    assert escaped("a\u0000b\u202ec") == "abc"


def test_missing_parts_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_run(tmp_path / "run" / "landscape.h5", parts=("evaluation",), splits=("test",))
    with pytest.raises(SystemExit):
        main([str(file), "--out", str(tmp_path / "figures"), "--split", "test", "--formats", "svg"])
    out = capsys.readouterr().out
    assert "no contours" in out and "no spectra" in out and "bars.svg" in out


def test_many_classes_are_drawn_by_group(tmp_path: Path) -> None:
    counts = [max(2, 400 - 4 * c) for c in range(100)]
    names = [f"class number {c}" for c in range(100)]
    file = write_run(
        tmp_path / "run" / "landscape.h5", counts=counts, names=names, points=5, splits=("train",), cross=False
    )
    write_figures([file], tmp_path / "figures", formats=("svg",))
    texts = "".join(ElementTree.parse(tmp_path / "figures" / "bars.svg").getroot().itertext())
    assert "medium" in texts and "class number" not in texts


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"formats": ("bmp",)}, "unknown format 'bmp'"),
        ({"split": "validation"}, "unknown split 'validation'"),
        ({"surface": "train-eigen"}, "unknown surface 'train-eigen'"),
        ({"subsets": ("class:77",)}, r"no file has the subset 'class:77' \(did you mean class:7\?\)"),
        ({"subsets": ("sneeker",)}, r"did you mean Sneaker\?"),
        ({"labels": {"cee": "CE"}}, r"unknown run 'cee' \(did you mean ce\?\)"),
        ({"width": "triple"}, "unknown width 'triple'"),
        ({"font": "comic"}, "unknown font 'comic'"),
    ],
)
def test_bad_input_is_one_sentence(files: list[Path], tmp_path: Path, change: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        write_figures(files, tmp_path, **change)  # type: ignore[arg-type]


def test_labels_subsets_by_label_and_run_folders(files: list[Path], tmp_path: Path) -> None:
    folders = [file.parent for file in files]
    made = write_figures(
        folders, tmp_path, formats=("svg",), labels={"ce": "Cross-entropy"}, subsets=("shirt", "few"), width="single",
        font="sans",
    )  # fmt: skip
    texts = "".join(ElementTree.parse(tmp_path / "contours.svg").getroot().itertext())
    assert "Cross-entropy" in texts and "Shirt" in texts and "few" in texts
    assert float(re.search(r'width="([\d.]+)pt"', (tmp_path / "bars.svg").read_text())[1]) < 3.4 * 72
    captions = (tmp_path / "captions.txt").read_text()
    assert "Cross-entropy and bgp_#1, train split" in captions and "Each run is one trained network" in captions
    assert tmp_path / "captions.txt" in made.paths


def test_the_table_says_its_splits_and_sets_test_accuracy_beside_train_curvature(
    files: list[Path], tmp_path: Path
) -> None:
    write_figures(files, tmp_path, formats=())
    text = (tmp_path / "table.tex").read_text()
    assert text.startswith("% train split; accuracy: test split")
    assert r"Test acc.\ (\%)" in text and r"$\lambda_1(|w|H|w|)$" in text
    with h5py.File(files[0]) as opened:
        accuracy = opened["evaluation/test/accuracy"][4]
    assert f"{100 * accuracy:.1f}" in next(line for line in text.splitlines() if line.startswith("few"))
