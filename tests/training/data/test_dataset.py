"""Splits that do not overlap, that nest, and that are found again from a record."""

import copy

import pytest
import torch

from foundation.errors import InputError
from training.data import dataset, open_data, open_split
from training.data.image_store import MemoryStore
from training.data.raw_dataset import RawDataset
from training.data.registry import DATASETS, Entry


def test_the_embedded_set():
    data = open_data("fashion-mini", imbalance=100)
    assert data.class_counts == (600, 359, 215, 129, 77, 46, 27, 16, 10, 6)
    assert data.train.labels.bincount().tolist() == list(data.class_counts)
    assert data.validation.labels.bincount().tolist() == data.test.labels.bincount().tolist() == [100] * 10
    assert data.train.inputs(torch.arange(2)).shape == (2, 1, 28, 28)


@pytest.mark.parametrize("seed", [0, 1])
def test_training_and_validation_images_never_overlap_and_tails_nest(seed):
    small, large = (open_data("fashion-mini", imbalance=ir, seed=seed) for ir in (100, 10))
    kept = set(small.train.indices.tolist())
    assert kept < set(large.train.indices.tolist())
    assert torch.equal(small.validation.indices, large.validation.indices)
    assert not set(large.train.indices.tolist()) & set(large.validation.indices.tolist())


def test_seeds_choose_other_images():
    first, second = (open_data("fashion-mini", imbalance=100, seed=seed) for seed in (0, 1))
    assert first.record["sha256"]["train"] != second.record["sha256"]["train"]
    assert first.record["sha256"]["test"] == second.record["sha256"]["test"]


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_a_split_is_found_again_from_its_record(split):
    data = open_data("digits", imbalance=20, seed=3, imbalance_type="step", validation=7)
    again = open_split(data.record, split)
    original = getattr(data, split)
    assert torch.equal(again.labels, original.labels)
    rows = torch.arange(len(original))
    assert torch.equal(again.inputs(rows), original.inputs(rows))
    assert torch.equal(again.inputs(rows[5:9]), again.inputs(rows)[5:9])


def test_inputs_are_normalized_by_the_record():
    data = open_data("fashion-mini", imbalance=100)
    record = copy.deepcopy(data.record)
    record["normalisation"] = {"mean": [0.5], "std": [0.25]}
    pixels = data.test.pixels(torch.tensor([3])).double()
    inputs = open_split(record, "test").inputs(torch.tensor([3]))
    torch.testing.assert_close(inputs.double(), (pixels / 255 - 0.5) / 0.25, rtol=0, atol=1e-6)


def test_other_images_than_the_recorded_ones_are_refused():
    record = copy.deepcopy(open_data("digits", imbalance=20).record)
    record["seed"] = 1
    with pytest.raises(InputError, match="not those of the checkpoint"):
        open_split(record, "train")


def test_without_validation_the_head_class_keeps_every_image():
    data = open_data("fashion-mini", imbalance=100, validation=0)
    assert data.class_counts[0] == 700 and not len(data.validation)
    with pytest.raises(InputError, match="validation split of this checkpoint's data is empty"):
        open_split(data.record, "validation")


def source(counts, own_validation=False):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    store = MemoryStore(torch.zeros(len(labels), 1, 2, 2, dtype=torch.uint8), labels)
    names = tuple(str(c) for c in range(len(counts)))
    return RawDataset(store, store, names, (0.5,), (0.5,), validation=store if own_validation else None, held_out=3)


@pytest.fixture
def uneven(monkeypatch):
    def use(*arguments):
        monkeypatch.setitem(DATASETS, "uneven", Entry(lambda data_dir: source(*arguments), "", ""))

    return use


def test_a_natural_tail_keeps_every_image_and_no_class_is_held_out_whole(uneven):
    uneven([50, 9, 2, 1])
    data = open_data("uneven")
    assert data.class_counts == (47, 6, 1, 1)
    assert data.validation.labels.bincount().tolist() == [3, 3, 1]


def test_a_cut_tail_starts_from_the_smallest_class(uneven):
    uneven([50, 23, 80])
    assert open_data("uneven", imbalance=4).class_counts == (20, 10, 5)


def test_a_set_with_its_own_validation_images_holds_nothing_out(uneven):
    uneven([50, 9, 2, 1], True)
    data = open_data("uneven")
    assert data.class_counts == (50, 9, 2, 1) and len(data.validation) == 62


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"imbalance": 0.5}, "below 1"),
        ({"imbalance": 700.0}, "at most 600"),
        ({"imbalance_type": "linear", "imbalance": 2}, "linear"),
        ({"validation": -1}, "-1"),
    ],
)
def test_unusable_numbers_are_refused(change, said):
    with pytest.raises(InputError, match=said):
        open_data("fashion-mini", **change)


def test_unknown_names_and_folders_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"'mnist-1d'.*fashion-mini"):
        open_data("mnist-1d")
    with pytest.raises(InputError, match="is no folder"):
        open_data("digits", data_dir=tmp_path / "none")
    with pytest.raises(InputError, match="'tomorrow'"):
        open_split(open_data("digits").record, "tomorrow")


def test_the_recorded_folder_is_used_unless_another_is_named(monkeypatch, tmp_path):
    asked = []

    def opened(data_dir):
        asked.append(data_dir)
        return source([5, 5])

    monkeypatch.setitem(DATASETS, "placed", Entry(opened, "", ""))
    (tmp_path / "old").mkdir()
    (tmp_path / "new").mkdir()
    record = open_data("placed", data_dir=tmp_path / "old").record
    dataset.open_split(record, "test")
    dataset.open_split(record, "test", tmp_path / "new")
    (tmp_path / "old").rmdir()
    dataset.open_split(record, "test")
    assert asked == [tmp_path / "old", tmp_path / "old", tmp_path / "new", None]
