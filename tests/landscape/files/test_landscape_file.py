import json
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import h5py
import numpy as np
import pytest
import xarray

from foundation.errors import InputError
from landscape.files.landscape_file import read_array, read_landscape
from landscape.files.target import Target
from landscape.files.unit_folder import partial_path
from landscape.files.units import recording
from landscape.subject.subsets import Subset

SUBSETS = (
    Subset("all", "all", "all", (0, 1), 12, 12),
    Subset("class:0", "T-shirt", "class", (0,), 10, 10),
    Subset("class:1", "</script>\u2603", "class", (1,), 2, 2),
)


def opened(file, *, name="train", config=None, extent=None, checkpoint="a" * 64, subsets=SUBSETS, overwrite=False):
    config = {"split": "train"} if config is None else config
    target = Target(file, name, checkpoint, config, {"version": "0"}, overwrite=overwrite)
    return recording(target, "hessian", subsets=subsets, extent={"top": 2} if extent is None else extent)


def fill(record, rows=(0, 1, 2), top=2):
    record.create("top", dims=("subset", "rank"), shape=(3, top), unit="loss", meaning="largest eigenvalues")
    record.create("status", dims=("subset",), shape=(3,), dtype="i8")
    for row in rows:
        record.write("top", row, np.arange(top) + row)
        record.write("status", row, 1)
        record.flush()


def test_what_is_written_is_read(tmp_path):
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        fill(record)
        record.scale("point", np.linspace(0, 1, 5), unit="1")
        record.create("density", dims=("subset", "point"), shape=(3, 5))
        record.create("vectors/top", dims=("subset", "parameter"), shape=(3, 7), dtype="f4")
        record.note("products", 12)
        record.note("notes", ["a", "b"])
        record.finish()
    assert not partial_path(file, "hessian", "train").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["landscape.h5"]
    found = read_landscape(file).get("hessian", "train")
    assert found.complete and found.subset == ("all", "class:0", "class:1")
    assert found.label[2] == "</script>\u2603" and list(found.train_count) == [12, 10, 2]
    assert found.data["top"].tolist() == [[0, 1], [1, 2], [2, 3]] and found.dims["top"] == ("subset", "rank")
    assert found.attributes["products"] == 12 and found.attributes["notes"] == ["a", "b"]
    assert "vectors/top" not in found.data
    assert np.isnan(read_array(file, "hessian/train/vectors/top")).all()


def test_a_group_opens_alone_in_xarray(tmp_path):
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        fill(record)
        record.create("trajectory/coordinates", dims=("step", "axis"), shape=(4, 2))
        record.finish()
    with xarray.open_dataset(file, group="hessian/train", engine="h5netcdf") as group:
        assert float(group["top"].sel(subset="class:1")[0]) == 2
        assert group["top"].attrs["units"] == "loss"
    with xarray.open_dataset(file, group="hessian/train/trajectory", engine="h5netcdf") as nested:
        assert nested["coordinates"].dims == ("step", "axis")


def test_merging_keeps_other_measurements_and_their_scales(tmp_path):
    file = tmp_path / "landscape.h5"
    for name in ("train", "test", "again"):
        with opened(file, name=name, config={"split": name}) as record:
            fill(record)
            record.create("wide", dims=("subset", "point"), shape=(3, 9000), fill=3.0)
            record.finish()
    for name in ("train", "test", "again"):
        with xarray.open_dataset(file, group=f"hessian/{name}", engine="h5netcdf") as group:
            assert group["wide"].dims == ("subset", "point") and float(group["wide"].mean()) == 3.0
            assert list(group["subset"].values) == [s.name for s in SUBSETS]
    assert file.stat().st_size < 3 * 9000 * 8  # large datasets are packed


def test_the_same_measurement_is_not_made_twice(tmp_path):
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        fill(record)
        record.finish()
    with opened(file) as record:
        assert record is None


def test_more_of_the_same_continues_from_what_is_there(tmp_path):
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        fill(record)
        record.finish()
    with opened(file, extent={"top": 4}) as record:
        assert not record.resumed and record.previous.data["top"].shape == (3, 2)
        fill(record, top=4)
        record.finish()
    assert read_landscape(file).get("hessian", "train").data["top"].shape == (3, 4)


def test_fewer_subsets_are_there_already_and_never_replace_more(tmp_path):
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        fill(record)
        record.finish()
    with opened(file, subsets=SUBSETS[1:]) as record:
        assert record is None
    with (
        pytest.raises(InputError, match="also holds all and 0 other subsets"),
        opened(file, subsets=SUBSETS[1:], extent={"top": 4}),
    ):
        pytest.fail("opened")
    assert read_landscape(file).get("hessian", "train").subset == ("all", "class:0", "class:1")


def test_another_configuration_needs_a_name_or_overwrite(tmp_path):
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        fill(record)
        record.finish()
    with (
        pytest.raises(InputError, match=r"split 'train', not 'test'.*--name"),
        opened(file, config={"split": "test"}),
    ):
        pytest.fail("opened")
    with opened(file, config={"split": "test"}, overwrite=True) as record:
        fill(record, rows=(0,))
        record.finish()
    assert read_landscape(file).get("hessian", "train").config == {"split": "test"}


def test_another_checkpoint_is_refused(tmp_path):
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        fill(record)
        record.finish()
    with pytest.raises(InputError, match="another checkpoint"), opened(file, name="b", checkpoint="b" * 64):
        pytest.fail("opened")


def test_a_second_process_gets_a_sentence(tmp_path):
    file = tmp_path / "landscape.h5"
    with (
        opened(file) as record,
        pytest.raises(InputError, match="another process is measuring hessian/train"),
        opened(file),
    ):
        pytest.fail(f"two at work on {record}")


def test_an_unfinished_measurement_is_resumed_and_read(tmp_path):
    file = tmp_path / "landscape.h5"
    with pytest.raises(KeyboardInterrupt), opened(file) as record:
        fill(record, rows=(0,))
        raise KeyboardInterrupt
    found = read_landscape(file).get("hessian", "train")
    assert not found.complete and found.data["status"].tolist() == [1, 0, 0]
    with (
        pytest.raises(InputError, match="unfinished with split 'train', not 'test'"),
        opened(file, config={"split": "test"}),
    ):
        pytest.fail("opened")
    with opened(file) as record:
        assert record.resumed and record.read("status").tolist() == [1, 0, 0]
        fill(record, rows=(1, 2))
        record.finish()
    assert read_landscape(file).get("hessian", "train").data["top"].tolist() == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize("rows", [(), (0,), (0, 1)])
def test_sigkill_loses_nothing_that_was_flushed(tmp_path, rows):
    file = tmp_path / "landscape.h5"
    script = f"""
        import os, signal
        from pathlib import Path
        from tests.landscape.files.test_landscape_file import opened, fill
        with opened(Path({str(file)!r})) as record:
            fill(record, rows={rows!r})
            record.write("top", 2, 99)
            os.kill(os.getpid(), signal.SIGKILL)
    """
    root = Path(__file__).parents[3]
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(script)], cwd=root, check=False)
    assert done.returncode == -signal.SIGKILL
    with opened(file) as record:
        assert record.resumed
        if rows:
            assert record.read("status").tolist() == [int(r in rows) for r in range(3)]
            assert np.isnan(record.read("top")[2]).all(), "what was no finished unit is not there"
        fill(record, rows=[r for r in range(3) if r not in rows])
        record.finish()
    assert read_landscape(file).get("hessian", "train").data["top"].tolist() == [[0, 1], [1, 2], [2, 3]]


@pytest.mark.parametrize("content", [b"", b"not hdf5 at all", b"\x89HDF\r\n\x1a\n" + b"\0" * 64])
def test_a_corrupt_file_is_one_sentence_and_left_alone(tmp_path, content):
    file = tmp_path / "landscape.h5"
    file.write_bytes(content)
    with pytest.raises(InputError, match="damaged or no HDF5 file"):
        read_landscape(file)
    with pytest.raises(InputError, match="damaged or no HDF5 file"), opened(file):
        pytest.fail("opened")
    assert file.read_bytes() == content


def test_other_hdf5_files_and_later_schemas_are_refused(tmp_path):
    file = tmp_path / "landscape.h5"
    with h5py.File(file, "w") as made:
        made.attrs["schema"] = "something else"
    with pytest.raises(InputError, match="no landscape file"):
        read_landscape(file)
    with h5py.File(file, "w") as made:
        made.attrs.update({"schema": "landscape", "schema_version": 99, "provenance": json.dumps({})})
    with pytest.raises(InputError, match="schema version 99"):
        read_landscape(file)
    with pytest.raises(InputError, match="does not exist"):
        read_landscape(tmp_path / "absent.h5")


def test_unfinished_work_of_a_file_with_a_longer_name_is_not_this_files(tmp_path):
    for name in ("landscape.h5", "landscape.two.h5"):
        with opened(tmp_path / name) as record:
            fill(record, rows=(0,))
    assert len(read_landscape(tmp_path / "landscape.h5").measurements) == 1
    assert len(read_landscape(tmp_path / "landscape.two.h5").measurements) == 1


def test_texts_of_either_kind_are_stored(tmp_path):
    file = tmp_path / "landscape.h5"
    with opened(file) as record:
        for name, dtype, text in (("free", h5py.string_dtype(), "negative \u2603"), ("fixed", "S16", b"negative")):
            record.create(name, dims=("subset",), shape=(3,), dtype=dtype)
            record.write(name, 1, text)
        record.write("free", slice(0, 1), ["few"])
        record.finish()
    found = read_landscape(file).get("hessian", "train").data
    assert list(found["free"]) == ["few", "negative \u2603", ""] and list(found["fixed"]) == ["", "negative", ""]
