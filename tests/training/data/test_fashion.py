"""The packed part of Fashion-MNIST, and the full set in its original files."""

import gzip
import hashlib
import struct

import numpy as np
import pytest
import torch

from foundation.errors import InputError
from training.data import open_data
from training.data.raw_dataset import ENVIRONMENT
from training.data.sources import fashion
from training.data.sources.make_fashion_mini import choose, pack


def write_idx(path, values):
    header = b"\x00\x00\x08" + bytes([values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(gzip.compress(header + values.tobytes()))


def write_set(folder, a_class, seed=0):
    """A whole Fashion-MNIST of `a_class` random images a class and split."""
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    arrays = {}
    for names in (fashion.TRAIN, fashion.TEST):
        labels = random.permutation(np.repeat(np.arange(10, dtype=np.uint8), a_class))
        images = random.integers(0, 256, (len(labels), 28, 28), dtype=np.uint8)
        for name, values in zip(names, (images, labels), strict=True):
            write_idx(folder / name, values)
            arrays[name] = values
    return arrays


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    """No environment variable, no Debian package and an empty cache."""
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(fashion, "DEBIAN", tmp_path / "debian")


def test_the_packed_file_is_small_and_always_the_same():
    assert fashion.PACKED.stat().st_size < 4.5e6
    digest = hashlib.sha256()
    with np.load(fashion.PACKED) as packed:
        for name in ("train_images", "train_labels", "test_images", "test_labels"):
            digest.update(packed[name].tobytes())
    assert digest.hexdigest() == "a6a10791bc2de6957578bfe6cd929a99e6a22b6406d38c4c549f8c9351d90259"
    assert "Zalando" in fashion.PACKED.with_name("fashion_mini_LICENSE.txt").read_text(encoding="utf-8")


def test_packing_chooses_by_class_in_the_original_order(tmp_path):
    arrays = write_set(tmp_path / "full", 900)
    pack(tmp_path / "full", tmp_path / "packed.npz")
    with np.load(tmp_path / "packed.npz") as packed:
        assert np.bincount(packed["train_labels"]).tolist() == [700] * 10
        assert np.bincount(packed["test_labels"]).tolist() == [100] * 10
        chosen = choose(arrays[fashion.TRAIN[1]], 700)
        assert (np.diff(chosen) > 0).all()
        assert (packed["train_images"] == arrays[fashion.TRAIN[0]][chosen]).all()


def test_the_full_set_reads_its_original_files(tmp_path):
    arrays = write_set(tmp_path / "full", 4)
    data = open_data("fashion-mnist", data_dir=tmp_path / "full", validation=1)
    assert data.class_counts == (3,) * 10
    assert torch.equal(data.test.pixels(torch.arange(40))[:, 0], torch.from_numpy(arrays[fashion.TEST[0]]))
    assert data.test.labels.tolist() == arrays[fashion.TEST[1]].tolist()


def test_the_named_folder_comes_before_the_environment_and_that_before_debian(tmp_path, monkeypatch):
    places = {
        name: write_set(tmp_path / name, 3, seed)[fashion.TEST[0]] for seed, name in enumerate(("a", "b", "debian"))
    }

    def images():
        data_dir = tmp_path / "a" if named else None
        return open_data("fashion-mnist", data_dir=data_dir, validation=0).test.pixels(torch.arange(30))[:, 0].numpy()

    named = False
    assert (images() == places["debian"]).all()
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path / "b"))
    assert (images() == places["b"]).all()
    named = True
    assert (images() == places["a"]).all()


def test_torchvisions_folder_is_found(tmp_path):
    write_set(tmp_path / "root" / "FashionMNIST" / "raw", 3)
    assert len(open_data("fashion-mnist", data_dir=tmp_path / "root", validation=0).test) == 30


def test_a_set_that_is_nowhere_is_one_sentence(tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"--data-dir.*fashion-mini"):
        open_data("fashion-mnist", data_dir=tmp_path)

    def offline(root, download):
        raise RuntimeError("no route to host")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", offline)
    with pytest.raises(InputError, match="no route to host"):
        open_data("fashion-mnist")


def test_other_ranks_never_download(monkeypatch):
    def downloading(root, download):
        raise AssertionError("a download on rank 1")

    monkeypatch.setattr("torchvision.datasets.FashionMNIST", downloading)
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(InputError, match="fashion-mnist is not in"):
        open_data("fashion-mnist")


DAMAGES = {
    "cut": lambda content: content[:-40],
    "no gzip": lambda content: b"not gzip",
    "other type": lambda content: gzip.compress(b"\x00\x00\x0d\x01"),
    "one byte short": lambda content: gzip.compress(gzip.decompress(content)[:-1]),
    "empty": lambda content: b"",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_named(tmp_path, damage):
    write_set(tmp_path, 3)
    path = tmp_path / fashion.TEST[0]
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(InputError, match=r"t10k-images.*fetch the file again"):
        open_data("fashion-mnist", data_dir=tmp_path)
