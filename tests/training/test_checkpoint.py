"""Checkpoints are whole, plain, and refused when they are not."""

import contextlib
import pickle
import zipfile

import pytest
import torch

from foundation.errors import InputError
from training.checkpoint import FORMAT, VERSION, Checkpoint, load_checkpoint, load_tensors, save_checkpoint


def checkpoint(**changes):
    fields = {
        "model": {"name": "cnn", "kwargs": {"classes": 3}},
        "data": {
            "name": "digits", "kwargs": {}, "data_dir": None, "imbalance": 3.0, "imbalance_type": "exp", "seed": 0,
            "validation": 0, "sizes": {"train": 6}, "class_names": ["a", "b", "c"], "class_counts": [3, 2, 1],
            "normalisation": {"mean": [0.5], "std": [0.5]}, "sha256": {"train": "0" * 64},
        },
        "method": {"name": "ce", "kwargs": {}, "note": ""},
        "state_dict": {"w": torch.arange(3.0), "n": torch.tensor(7)},
        "epoch": 2,
        "metrics": {"epoch": 2, "objective": 0.5, "test": {"loss": {"classes": [0.1, None]}}},
        "config": {"lr": 0.1, "batch_size": 64},
        "provenance": {"seed": 0, "git_dirty": None},
    }  # fmt: skip
    return Checkpoint(**{**fields, **changes})


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "c.pt", checkpoint())
    loaded = load_checkpoint(tmp_path / "c.pt")
    for name in Checkpoint.__dataclass_fields__:
        if name != "state_dict":
            assert getattr(loaded, name) == getattr(checkpoint(), name)
    assert torch.equal(loaded.state_dict["w"], torch.arange(3.0))
    content = torch.load(tmp_path / "c.pt", weights_only=True)  # anyone can read it so
    assert (content["format"], content["version"]) == (FORMAT, VERSION)


def test_a_failed_save_leaves_the_old_file(tmp_path):
    save_checkpoint(tmp_path / "c.pt", checkpoint())
    before = (tmp_path / "c.pt").read_bytes()
    with pytest.raises(AttributeError):
        save_checkpoint(tmp_path / "c.pt", checkpoint(metrics={"f": lambda: 0}))
    assert (tmp_path / "c.pt").read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_anywhere_is_corrupt(tmp_path, keep):
    path = tmp_path / "c.pt"
    save_checkpoint(path, checkpoint(state_dict={"w": torch.randn(5000)}))
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(InputError, match="corrupt"):
        load_checkpoint(path)


def test_flipped_bytes_never_escape_as_another_error(tmp_path):
    path = tmp_path / "c.pt"
    save_checkpoint(path, checkpoint())
    content = bytearray(path.read_bytes())
    for position in range(0, len(content), 7):
        damaged = bytearray(content)
        damaged[position] ^= 0xFF
        path.write_bytes(damaged)
        with contextlib.suppress(InputError):
            load_checkpoint(path)


class Evil:
    def __reduce__(self):
        return (print, ("this ran",))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_checkpoint_that_would_run_code_is_refused(tmp_path, capsys, legacy):
    content = {"format": FORMAT, "version": VERSION, "model": Evil()}
    torch.save(content, tmp_path / "evil.pt", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(InputError, match=r"refused.*could run code"):
        load_checkpoint(tmp_path / "evil.pt")
    assert "this ran" not in capsys.readouterr().out


def test_a_bare_pickle_is_refused(tmp_path, capsys):
    (tmp_path / "evil.pt").write_bytes(pickle.dumps(Evil()))
    with pytest.raises(InputError):
        load_checkpoint(tmp_path / "evil.pt")
    assert "this ran" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"state_dict": {}}, "is no checkpoint of training.run"),
        ([1, 2], "is no checkpoint of training.run"),
        ({"format": FORMAT, "version": 99}, "version 99, this package reads 1"),
        ({"format": FORMAT, "version": VERSION, "model": {}}, "lacks model.name, model.kwargs, data, method"),
    ],
)
def test_other_files_are_refused(tmp_path, content, said):
    torch.save(content, tmp_path / "c.pt")
    with pytest.raises(InputError, match=said):
        load_checkpoint(tmp_path / "c.pt")


def test_a_missing_file_and_a_zip_of_something_else(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        load_checkpoint(tmp_path / "none.pt")
    with zipfile.ZipFile(tmp_path / "z.pt", "w") as file:
        file.writestr("hello", "world")
    with pytest.raises(InputError, match="corrupt"):
        load_tensors(tmp_path / "z.pt", "checkpoint")
