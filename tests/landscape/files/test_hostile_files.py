"""A landscape file is believed only as far as its declared model goes."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from foundation.errors import InputError
from landscape.evaluation.record import record_evaluation  # noqa: F401 - its room is declared too
from landscape.files.landscape_file import read_array, read_landscape
from landscape.files.measurement_model import FLOATS, TEXTS, WHOLE
from landscape.hessian.measure_cross_class import CrossClass
from landscape.hessian.result import SubsetCurvature
from landscape.schema import quantities
from landscape.sharpness.result import Sharpness
from landscape.surface.result import Surface
from tests.landscape.altered import altered
from tests.landscape.files.test_landscape_file import fill, opened

RESULTS = {"hessian": (SubsetCurvature, CrossClass), "sharpness": (Sharpness,), "surface": (Surface,)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "landscape.h5"
    with opened(path) as record:
        fill(record)
        record.finish()
    return path


@pytest.mark.parametrize("analysis", RESULTS)
def test_every_quantity_of_a_result_is_declared_as_it_is_written(analysis):
    declared = {
        name: (dims, kind) for table, kind in ((FLOATS, "f"), (WHOLE, "i"), (TEXTS, "s"))
        for dims, names in table[analysis].items() for name in names.split()
    } if analysis == "hessian" else {
        name: (dims, kind) for table, kind in ((FLOATS, "f"), (WHOLE, "i"))
        for dims, names in table[analysis].items() for name in names.split()
    }  # fmt: skip
    for result in RESULTS[analysis]:
        for q in quantities(result):
            if q.name.startswith("vectors/"):
                continue
            dims = ("subset", *q.dims) if result is SubsetCurvature else q.dims
            assert declared[q.name] == (dims, q.dtype[0]), q.name


def spoil(file: Path, name: str, change) -> None:
    with altered(file) as opened_file:
        group = opened_file["hessian/train"]
        old, attributes = group[name][()], {k: v for k, v in group[name].attrs.items() if not k.isupper()}
        del group[name]
        change(group, name, old)
        if isinstance(group.get(name, getlink=True), h5py.HardLink):
            group[name].attrs.update(attributes)


SPOILED = {
    "a soft link": lambda group, name, old: group.__setitem__(name, h5py.SoftLink("/hessian")),
    "an external link": lambda group, name, old: group.__setitem__(name, h5py.ExternalLink("other.h5", "/top")),
    "one row less": lambda group, name, old: group.create_dataset(name, data=old[:-1]),
    "complex": lambda group, name, old: group.create_dataset(name, data=old + 1j),
    "texts": lambda group, name, old: group.create_dataset(name, data=np.full(old.shape, "x", dtype=object)),
    "nothing": lambda group, name, old: group.create_dataset(name, data=h5py.Empty("f8")),
    "a bomb": lambda group, name, old: group.create_dataset(name, shape=(1 << 40,), dtype="f8", chunks=(1 << 20,)),
    "another file's bytes": lambda group, name, old: group.create_dataset(
        name, shape=old.shape, dtype="f8", external=[("/dev/zero", 0, h5py.h5f.UNLIMITED)]),
    "a foreign filter": lambda group, name, old: group.create_dataset(name, data=old, chunks=True, compression="lzf"),
    "a virtual data set": lambda group, name, old: group.create_virtual_dataset(
        name, h5py.VirtualLayout(shape=old.shape, dtype="f8")),
}  # fmt: skip


@pytest.mark.parametrize("how", SPOILED)
def test_a_data_set_that_is_not_as_declared_is_named(file: Path, how: str) -> None:
    spoil(file, "top", SPOILED[how])
    with pytest.raises(InputError, match=r"landscape\.h5'.*top"):
        read_landscape(file)


@pytest.mark.parametrize(
    ("name", "value"), [("status", 9), ("status", -1), ("train_count", -1), ("measured_count", -5)]
)
def test_codes_and_counts_that_cannot_be(file: Path, name: str, value: int) -> None:
    with altered(file) as opened_file:
        opened_file[f"hessian/train/{name}"][0] = value
    with pytest.raises(InputError, match=f"has {name} "):
        read_landscape(file)


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("schema_version", "two"), ("schema_version", 0), ("checkpoint_sha256", "x"), ("checkpoint_sha256", 3),
     ("provenance", "[]"), ("provenance", "text"), ("schema", 4)],
)  # fmt: skip
def test_attributes_of_the_file(file: Path, attribute: str, value: object) -> None:
    with altered(file) as opened_file:
        opened_file.attrs[attribute] = value
    with pytest.raises(InputError, match=r"landscape\.h5"):
        read_landscape(file)


@pytest.mark.parametrize(
    ("attribute", "value"), [("config", "[]"), ("config", '{"split": 3}'), ("extent", "{"), ("wall_seconds", np.nan),
                             ("numerics", "x"), ("config", "[" * 60_000)]
)  # fmt: skip
def test_attributes_of_a_measurement(file: Path, attribute: str, value: object) -> None:
    with altered(file) as opened_file:
        opened_file["hessian/train"].attrs[attribute] = value
    with pytest.raises(InputError, match=attribute):
        read_landscape(file)


def test_a_flipped_bit_of_a_number_is_named_and_never_read(file: Path) -> None:
    """Data sets of numbers carry Fletcher-32 checksums: every bit of every value."""
    with h5py.File(file) as opened_file:
        dataset = opened_file["hessian/train/top"]
        assert dataset.fletcher32
        offset, size = dataset.id.get_chunk_info(0).byte_offset, dataset.size * 8
    whole = file.read_bytes()
    for bit in range(0, size * 8, 5):
        spoiled = bytearray(whole)
        spoiled[offset + bit // 8] ^= 1 << bit % 8
        file.write_bytes(spoiled)
        with pytest.raises(InputError, match=r"damaged bytes in .*top"):
            read_landscape(file)
        with pytest.raises(InputError, match=r"damaged bytes in .*top"):
            read_array(file, "hessian/train/top")


def test_a_file_that_is_no_file(tmp_path: Path) -> None:
    for path in (tmp_path, Path("/dev/null")):
        with pytest.raises(InputError, match="no ordinary file"):
            read_landscape(path)
