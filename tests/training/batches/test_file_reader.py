"""Images read from files: the same whichever process reads them, trained on end to end, named when broken."""

import multiprocessing

import pytest
import torch

from foundation.errors import InputError
from tests.training.data.formats import write_images, write_lists
from training import Config, train
from training.batches.augment import reading_augmentation
from training.batches.augment.policies import color_jitter
from training.batches.file_reader import Reader
from training.batches.loaders import Normalizer, open_loaders
from training.checkpoint import load_checkpoint
from training.data import open_data
from training.data.sources.image_lists import IMAGENET_LISTS
from training.epochs import open_configured
from training.methods.method import build_method
from training.trainer import Trainer

LISTS = {"train": IMAGENET_LISTS["train"], "val": IMAGENET_LISTS["validation"], "test": IMAGENET_LISTS["test"]}


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Some 230 small JPEG files in the form of ImageNet-LT, three classes of 120, 40 and 12."""
    root = tmp_path_factory.mktemp("imagenet-lt")
    counts = {"train": (120, 40, 12), "val": (8, 8, 8), "test": (10, 10, 10)}
    write_lists(root, LISTS, write_images(root, counts=counts))
    return root


def test_batches_do_not_depend_on_the_processes_that_read_them(photographs):
    split = open_data("imagenet-lt", data_dir=photographs, size=16).train
    orders = list(torch.randperm(60, generator=torch.Generator().manual_seed(0)).split(25))
    found = []
    for workers in (0, 2):
        reader = Reader({"train": split}, reading_augmentation("autoaugment", 16), workers=workers, pinned=False)
        found.append([list(reader.read("train", orders, seed=seed)) for seed in (7, 7, 8)])
        reader.close()
    for (pixels, labels), (others, other_labels), order in zip(found[0][0], found[1][0], orders, strict=True):
        assert torch.equal(pixels, others) and torch.equal(labels, other_labels)
        assert torch.equal(labels, split.labels[order]) and pixels.dtype == torch.uint8
    assert all(torch.equal(a[0], b[0]) for a, b in zip(found[1][0], found[1][1], strict=True))  # a seed repeats
    assert not torch.equal(found[1][0][0][0], found[1][2][0][0])


def test_reading_leaves_the_random_numbers_alone(photographs):
    split = open_data("imagenet-lt", data_dir=photographs, size=16).train
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    reader = Reader({"train": split}, reading_augmentation("autoaugment", 16), workers=0, pinned=False)
    list(reader.read("train", [torch.arange(3)], seed=0))
    assert torch.equal(torch.rand(2), expected)


def test_training_images_alone_are_jittered_once_they_are_placed(photographs):
    data = open_data("imagenet-lt", data_dir=photographs, size=16)
    splits = {"train": data.train, "validation": data.validation}
    plain, jittered = (
        open_loaders(splits, torch.device("cpu"), augment=name, workers=0) for name in ("crop-flip", "jitter")
    )
    (ours, _), (theirs, _) = (next(iter(x["train"].batches([torch.arange(6)], seed=3))) for x in (jittered, plain))
    again, _ = next(iter(jittered["train"].batches([torch.arange(6)], seed=3)))
    normalize = Normalizer(data.train, torch.device("cpu"), dtype=torch.float32, channels_last=False)
    pixels = (theirs - normalize._shift).div(normalize._scale).round().to(torch.uint8)
    expected = normalize(color_jitter(pixels, torch.Generator().manual_seed(3)))
    assert torch.equal(ours, expected) and torch.equal(ours, again) and not torch.equal(ours, theirs)
    ours, theirs = (next(iter(x["validation"].evaluation(torch.arange(4))))[0] for x in (jittered, plain))
    assert torch.equal(ours, theirs)


def test_all_splits_are_read_by_as_many_processes_as_asked(photographs):
    data = open_data("imagenet-lt", data_dir=photographs, size=16)
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    loaders = open_loaders(splits, torch.device("cpu"), augment="jitter", workers=2)
    before = set(multiprocessing.active_children())
    for name, split in splits.items():
        list(loaders[name].batches([torch.arange(6)], seed=0))
        (batch,) = loaders[name].evaluation(torch.arange(6))
        torch.testing.assert_close(batch[0], split.inputs(torch.arange(6)), rtol=0, atol=1e-6)
    assert len(set(multiprocessing.active_children()) - before) == 2
    next(iter(loaders["train"].batches([torch.arange(6)] * 9, seed=0)))  # left early: the next reading starts afresh
    (batch,) = loaders["test"].evaluation(torch.arange(4))
    assert torch.equal(batch[1], data.test.labels[:4])
    loaders["train"].close()


def imagenet(root, out, **changes):
    settings = {"data_kwargs": {"size": 32}, "model": "cnn", "epochs": 1, "batch_size": 43, "lr": 0.02, "workers": 2}
    return Config(out=out, data="imagenet-lt", data_dir=root, imbalance=None, device="cpu", **{**settings, **changes})


def test_imagenet_lt_trains_end_to_end(photographs, tmp_path):
    before = set(multiprocessing.active_children())
    run = train(imagenet(photographs, tmp_path, method="bgp"))
    assert set(multiprocessing.active_children()) <= before  # those that read end with the run
    assert run.class_counts == (120, 40, 12)
    assert set(run.rows[-1]["test"]["accuracy"]) == {"all", "balanced", "many", "medium", "few", "classes"}
    checkpoint = load_checkpoint(run.checkpoint)
    assert checkpoint.data["sizes"] == {"train": 172, "validation": 24, "test": 30}
    assert checkpoint.config["data_kwargs"] == {"size": 32} and run.best is not None


def test_reading_processes_end_with_each_phase(photographs, tmp_path):
    settings = imagenet(photographs, tmp_path, method="crt", batch_size=4)
    data = open_configured(settings)
    trainer = Trainer(settings, data, build_method("crt", data.class_counts), torch.device("cpu"))
    before, found = set(multiprocessing.active_children()), []
    for epoch, end in ((0, lambda: trainer.enter(trainer.phases[1])), (1, trainer.close)):
        next(trainer.batches(epoch, seed=0))
        found.append(len(set(multiprocessing.active_children()) - before))
        end()
        found.append(len(set(multiprocessing.active_children()) - before))
    assert found == [2, 0, 2, 0]


def test_a_broken_image_is_named_and_skipped_only_if_asked(tmp_path):
    root, heard = tmp_path / "data", []
    listed = write_images(root, counts={"train": (30, 10, 5), "val": (2, 2, 2), "test": (2, 2, 2)})
    write_lists(root, LISTS, listed)
    broken = root / listed["train"][4][0]
    broken.write_bytes(b"no photograph")
    with pytest.raises(InputError, match=r"train_0_4\.jpg cannot be read.*skip_broken") as stop:
        train(imagenet(root, tmp_path / "stops"))
    assert "\n" not in str(stop.value)
    skip = {"data_kwargs": {"size": 32, "skip_broken": True}}
    run = train(imagenet(root, tmp_path / "skips", **skip), say=heard.append)
    assert run.class_counts == (29, 10, 5)
    assert heard[0] == f"1 image cannot be read and is left out: {listed['train'][4][0]}"
