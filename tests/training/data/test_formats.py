"""Every source reads small files made in its original format."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from foundation.errors import InputError
from tests.training.data.formats import (
    COUNTS,
    save_image,
    write_cifar,
    write_images,
    write_inaturalist,
    write_lists,
)
from training.data import DATASETS, open_data, open_split
from training.data.files import FileStore
from training.data.raw_dataset import ENVIRONMENT
from training.data.sources.image_lists import IMAGENET_LISTS, INATURALIST_LISTS


@pytest.fixture(autouse=True)
def nowhere(monkeypatch, tmp_path):
    monkeypatch.delenv(ENVIRONMENT, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "classes", "inside"), [("cifar10", 10, "cifar-10-batches-py"), ("cifar100", 100, "cifar-100-python")]
)
def test_cifar(tmp_path, name, classes, inside):
    written = write_cifar(tmp_path / inside, classes, 4)
    data = open_data(name, data_dir=tmp_path, validation=0, imbalance=2)
    assert data.class_counts[0] == (20 if classes == 10 else 4) and data.class_counts[-1] == data.class_counts[0] // 2
    assert data.class_names[3] == "class 3" and data.augment == "crop-flip"
    images, labels = written["test_batch" if classes == 10 else "test"]
    assert data.test.labels.tolist() == labels
    assert torch.equal(data.test.pixels(torch.arange(len(labels))).reshape(len(labels), -1), torch.from_numpy(images))
    assert (
        open_data(name, data_dir=tmp_path / inside, validation=0).record["sha256"]["test"]
        == data.record["sha256"]["test"]
    )


@pytest.mark.parametrize(("name", "classes"), [("cifar10", 10), ("cifar100", 100)])
def test_the_fields_own_subset_is_normalized_as_its_code_does(tmp_path, name, classes):
    """imbalance_cifar.py and cifar_train.py of LDAM-DRW take one mean and deviation for both sets."""
    inside = {"cifar10": "cifar-10-batches-py", "cifar100": "cifar-100-python"}[name]
    write_cifar(tmp_path / inside, classes, 4)
    field, own = (open_data(name, data_dir=tmp_path, imbalance=2, validation=0, **kind).train
                  for kind in ({"subset": "cao"}, {}))  # fmt: skip
    assert (field.mean, field.std) == ((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
    assert own.std != field.std


def test_a_cifar_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    write_cifar(tmp_path, 10, 1)
    (tmp_path / "data_batch_3").write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(InputError, match="data_batch_3 is no file of CIFAR"):
        open_data("cifar10", data_dir=tmp_path)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"junk", pickle.dumps([1]), pickle.dumps({b"data": np.zeros((2, 5))})])
def test_a_damaged_cifar_file_is_named(tmp_path, content):
    write_cifar(tmp_path, 10, 1)
    (tmp_path / "test_batch").write_bytes(content)
    with pytest.raises(InputError, match="test_batch"):
        open_data("cifar10", data_dir=tmp_path)


def test_imagenet_lt_lists(tmp_path):
    listed = write_images(tmp_path)
    write_lists(
        tmp_path,
        {"train": IMAGENET_LISTS["train"], "val": IMAGENET_LISTS["validation"], "test": IMAGENET_LISTS["test"]},
        listed,
    )
    data = open_data("imagenet-lt", data_dir=tmp_path, size=24)
    assert data.class_counts == COUNTS["train"] and len(data.validation) == 6 and len(data.test) == 9
    again = open_split(data.record, "validation")
    inputs = again.inputs(torch.arange(6))
    assert inputs.shape == (6, 3, 24, 24) and torch.equal(inputs, data.validation.inputs(torch.arange(6)))
    red, green = inputs[0].mean((1, 2))[:2]
    assert red > green  # the first class is red


@pytest.mark.parametrize("form", ["json", "lists"])
def test_inaturalist(tmp_path, form):
    listed = write_images(tmp_path, ("train", "val"))
    if form == "json":
        write_inaturalist(tmp_path, listed)
    else:
        write_lists(tmp_path, {"train": INATURALIST_LISTS["train"], "val": INATURALIST_LISTS["test"]}, listed)
    data = open_data("inaturalist-2018", data_dir=tmp_path, size=16)
    assert data.class_counts == COUNTS["train"] and len(data.test) == 6 and not len(data.validation)
    assert data.class_names[1] == ("species 1" if form == "json" else "1")


def test_inaturalist_numbers_its_classes_by_the_training_file(tmp_path):
    """A test file that lists other categories, or fewer, shifts no label; images of a strange category are refused."""
    listed = write_images(tmp_path, ("train", "val"))
    write_inaturalist(tmp_path, listed)
    path = tmp_path / "val2018.json"
    content = json.loads(path.read_text())
    content["categories"] = [{"id": 10, "name": "species 2"}, {"id": 3, "name": "a newcomer"}]
    path.write_text(json.dumps(content))
    data = open_data("inaturalist-2018", data_dir=tmp_path, size=16)
    assert data.test.labels.tolist() == [label for _, label in listed["val"]]
    assert data.class_names == ("species 0", "species 1", "species 2")
    content["annotations"][1]["category_id"] = 3
    path.write_text(json.dumps(content))
    with pytest.raises(InputError, match=r"val2018\.json has images of category 3, which the training images do not"):
        open_data("inaturalist-2018", data_dir=tmp_path, size=16)


def test_a_folder_of_classes(tmp_path, monkeypatch):
    write_images(tmp_path)
    (tmp_path / "train/n0000/notes.txt").touch()
    monkeypatch.setenv(ENVIRONMENT, str(tmp_path))
    data = open_data("folder", size=16, validation=1)
    assert data.class_names == ("n0000", "n0001", "n0002") and data.class_counts == (11, 5, 2)
    assert len(open_data("folder", size=16, validation=1).validation) == 3


def test_the_folders_own_validation_images(tmp_path):
    write_images(tmp_path)
    data = DATASETS["folder"].value(tmp_path, validation="val", size=16)
    assert len(data.validation.labels) == 6


def test_an_image_is_resized_and_its_center_cut(tmp_path):
    pixels = np.zeros((60, 90, 3), np.uint8)
    pixels[:, 30:60] = 255  # the middle third
    Image.fromarray(pixels).save(tmp_path / "a.png")
    store = FileStore(tmp_path, ("a.png",), torch.tensor([0]), 28)
    cut = store.evaluated(0)
    assert cut.shape == (3, 28, 28)
    # 60 → 32 pixels: the white third is 16 wide around the center
    assert (cut[:, :, 8:20] == 255).all() and (cut[:, :, :4] == 0).all() and (cut[:, :, -4:] == 0).all()


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK", "1"])
def test_other_kinds_of_images_become_rgb(tmp_path, mode):
    name = "a.jpg" if mode == "CMYK" else "a.png"
    Image.new("RGB", (50, 30), (10, 200, 90)).convert(mode).save(tmp_path / name)
    assert FileStore(tmp_path, (name,), torch.tensor([0]), 16).evaluated(0).shape == (3, 16, 16)


def test_a_tiny_or_narrow_image_still_fills_the_square(tmp_path):
    for name, size in (("a.png", (1, 1)), ("b.png", (3, 100)), ("c.png", (101, 2))):
        save_image(tmp_path / name, (9, 9, 9), size)
    store = FileStore(tmp_path, ("a.png", "b.png", "c.png"), torch.tensor([0, 0, 0]), 16)
    assert store.pixels(torch.arange(3)).shape == (3, 3, 16, 16)


def test_a_broken_image_is_named_and_left_out_only_if_asked(tmp_path):
    listed = write_images(tmp_path)
    names = {"train": "train.txt", "test": "test.txt"}
    write_lists(tmp_path, names, listed)
    broken = tmp_path / listed["train"][2][0]
    broken.write_bytes(broken.read_bytes()[:100])
    data = open_data("lists", data_dir=tmp_path, size=16)
    with pytest.raises(InputError, match=r"train_0_2\.jpg.*skip_broken"):
        data.train.inputs(torch.arange(len(data.train)))
    mended = open_data("lists", data_dir=tmp_path, size=16, skip_broken=True)
    assert mended.class_counts == (11, 6, 3)
    assert mended.record["kwargs"]["skip_broken"] == [listed["train"][2][0]]
    assert len(mended.train.inputs(torch.arange(20))) == 20
    assert len(open_split(mended.record, "train")) == 20


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "is empty"), ("a.jpg\n", "line 1"), ("a.jpg 0\nb.jpg one\n", "line 2"), ("a.jpg -1\n", "line 1")],
)
def test_a_bad_list_is_one_sentence(tmp_path, text, said):
    (tmp_path / "train.txt").write_text(text)
    (tmp_path / "test.txt").write_text("a.jpg 0\n")
    with pytest.raises(InputError, match=said):
        open_data("lists", data_dir=tmp_path)


@pytest.mark.parametrize(
    "text", ["", "[]", '{"images": []}', '{"images": [{"id": 1}], "annotations": [], "categories": []}']
)
def test_a_bad_json_file_is_one_sentence(tmp_path, text):
    for name in ("train2018.json", "val2018.json"):
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"train2018\.json is no JSON file of iNaturalist"):
        open_data("inaturalist-2018", data_dir=tmp_path)


@pytest.mark.parametrize("name", ["cifar10", "cifar100", "imagenet-lt", "inaturalist-2018", "lists", "folder", "npz"])
def test_a_set_that_is_not_there_is_one_sentence(tmp_path, name):
    with pytest.raises(InputError, match="--data-dir"):
        open_data(name, data_dir=tmp_path)


def npz(path, **changes):
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), (30, 20, 12))
    arrays = {
        "train_images": random.integers(0, 256, (62, 9, 8, 3), dtype=np.uint8),
        "train_labels": labels.reshape(-1, 1),
        "test_images": random.integers(0, 256, (6, 9, 8, 3), dtype=np.uint8),
        "test_labels": np.array([0, 1, 2, 0, 1, 2]),
        **changes,
    }
    np.savez(path, **{name: value for name, value in arrays.items() if value is not None})
    return arrays


def test_an_npz_file(tmp_path):
    arrays = npz(tmp_path / "mine.npz", class_names=np.array(["a", "b", "c"]))
    data = open_data("npz", data_dir=tmp_path, file="mine.npz", imbalance=2)
    assert data.class_names == ("a", "b", "c") and data.class_counts == (11, 7, 5)
    pixels = arrays["train_images"] / 255
    assert data.record["normalisation"]["mean"] == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-6)
    assert open_split(data.record, "test").inputs(torch.arange(2)).shape == (2, 3, 9, 8)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"test_labels": None}, "no array 'test_labels'"),
        ({"train_images": np.zeros((62, 4, 4))}, "float64"),
        ({"train_labels": np.zeros(3, int)}, "for 3 labels"),
        ({"test_labels": np.array([0.5] * 6)}, "whole numbers"),
        ({"class_names": np.array(["a"])}, "names 1 classes and has 3"),
        ({"train_labels": np.array([{}] * 62)}, "plain arrays"),
    ],
)
def test_a_bad_npz_file_is_one_sentence(tmp_path, changes, said):
    npz(tmp_path / "data.npz", **changes)
    with pytest.raises(InputError, match=said):
        open_data("npz", data_dir=tmp_path)


def test_unknown_options_are_refused():
    with pytest.raises(InputError, match="'digits' cannot be opened"):
        open_data("digits", color="red")
