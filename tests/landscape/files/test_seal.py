"""A measurement's seal finds what HDF5's own checksums leave out: texts, names, attributes, and edits by hand."""

from collections.abc import Callable
from pathlib import Path

import h5py
import pytest

from foundation.errors import InputError
from landscape.files.landscape_file import read_landscape
from landscape.files.safe_read import SEAL
from tests.landscape.altered import altered
from tests.landscape.files.test_landscape_file import fill, opened


def _bit(text: bytes) -> Callable[[Path], None]:
    def flip(path: Path) -> None:
        content = bytearray(path.read_bytes())
        at = content.rindex(text) + len(text) - 3
        content[at] ^= 1
        path.write_bytes(content)

    return flip


def _edit(change: Callable[[h5py.File], object]) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        with h5py.File(path, "r+") as file:
            change(file)

    return edit


CHANGES = {
    "a bit of a label": _bit(b"T-shirt"),
    "a bit of a configuration": _bit(b'"split": "train"'),
    "a number": _edit(lambda f: f["hessian/train/top"].__setitem__((1, 0), 0.5)),
    "a unit": _edit(lambda f: f["hessian/train/top"].attrs.__setitem__("units", "bit")),
    "the wall time": _edit(lambda f: f["hessian/train"].attrs.__setitem__("wall_seconds", 1e-3)),
    "another name": _edit(lambda f: f.move("hessian/train", "hessian/test")),
    "another checkpoint": _edit(lambda f: f.attrs.__setitem__("checkpoint_sha256", "0" * 64)),
    "one data set more": _edit(lambda f: f["hessian/train"].__setitem__("more", f["hessian/train/top"])),
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "landscape.h5"
    with opened(path) as record:
        fill(record)
        record.finish()
    return path


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_named(file: Path, change: str) -> None:
    read_landscape(file)
    CHANGES[change](file)
    with pytest.raises(InputError, match=r"landscape\.h5' in hessian/\w+ was changed after it was written"):
        read_landscape(file)


def test_a_file_without_seals_is_of_an_earlier_version_and_opens(file: Path) -> None:
    with altered(file) as opened:
        for analysis in opened.values():
            for group in analysis.values():
                del group.attrs[SEAL]
    assert read_landscape(file).get("hessian", "train") is not None
