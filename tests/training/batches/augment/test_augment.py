"""Batched augmentations against Pillow and torchvision, image by image."""

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import AutoAugment, AutoAugmentPolicy
from torchvision.transforms.v2 import functional as T

from foundation.errors import InputError
from training.batches.augment import (
    AUGMENTATIONS,
    batched_augmentation,
    placed_augmentation,
    reading_augmentation,
)
from training.batches.augment import color as C
from training.batches.augment import geometry as G
from training.batches.augment.policies import CIFAR_POLICY, NAMES, OPERATIONS, auto_augment, color_jitter, rand_augment


@pytest.fixture
def images():
    return torch.randint(256, (6, 3, 16, 20), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


FACTORS = torch.tensor([0.1, 0.5, 0.9, 1.0, 1.3, 1.9])
PEERS = {
    "brightness": (C.brightness, T.adjust_brightness),
    "color": (C.color, T.adjust_saturation),
    "contrast": (C.contrast, T.adjust_contrast),
    "sharpness": (C.sharpness, T.adjust_sharpness),
}


@pytest.mark.parametrize("name", PEERS)
def test_factors_do_what_torchvision_does_to_each_image(images, name):
    ours, theirs = PEERS[name]
    expected = torch.stack([theirs(image, float(f)) for image, f in zip(images, FACTORS, strict=True)])
    difference = (ours(images, FACTORS).int() - expected.int()).abs()
    assert difference.max() <= 1 and (difference > 0).float().mean() < 0.05  # both cut the last digit


@pytest.mark.parametrize("size", [(16, 20), (3, 40)])
def test_whole_number_operations_are_torchvisions_exactly(size):
    images = torch.randint(256, (5, 3, *size), dtype=torch.uint8, generator=seeded(3))
    images[0] = images[0] // 4 + 30  # a narrow histogram
    images[1, 0] = 77  # a flat channel
    stretched = torch.stack([T.autocontrast(image) for image in images])
    assert (C.autocontrast(images).int() - stretched.int()).abs().max() <= 1  # 84.9999 and 85
    assert torch.equal(C.equalize(images), torch.stack([T.equalize(image) for image in images]))
    assert torch.equal(C.invert(images), torch.stack([T.invert(image) for image in images]))
    bits = torch.tensor([4.0, 5.0, 6.0, 7.0, 8.0])
    assert torch.equal(
        C.posterize(images, bits), torch.stack([T.posterize(i, int(b)) for i, b in zip(images, bits, strict=False)])
    )
    thresholds = torch.tensor([0.0, 28.4, 128.0, 200.0, 255.0])
    solarized = torch.stack([T.solarize(i, float(t)) for i, t in zip(images, thresholds, strict=False)])
    assert torch.equal(C.solarize(images, thresholds), solarized)


@pytest.mark.parametrize("make", [G.shear_x, G.shear_y, G.translate_x, G.translate_y])
def test_affine_maps_are_pillows(images, make):
    amounts = torch.tensor([-0.2913, -0.1137, 0.0, 0.2071, 0.3173, 2.617])  # no ties between neighbors
    matrices = make(amounts)
    for image, matrix, found in zip(images, matrices, G.affine(images, matrices), strict=True):
        pillow = Image.fromarray(image.permute(1, 2, 0).numpy())
        moved = pillow.transform(
            pillow.size, Image.Transform.AFFINE, matrix.flatten().tolist(), Image.Resampling.NEAREST
        )
        assert (np.asarray(moved) != found.permute(1, 2, 0).numpy()).mean() < 0.03


def test_rotations_are_pillows(images):
    square = images[:, :, :, :16]
    degrees = torch.tensor([0.0, 90.0, -90.0, 180.0, 30.0, -17.0])
    turned = G.affine(square, G.rotate(degrees, 16, 16))
    for image, angle, found in zip(square, degrees, turned, strict=True):
        expected = np.asarray(Image.fromarray(image.permute(1, 2, 0).numpy()).rotate(float(angle)))
        assert (expected != found.permute(1, 2, 0).numpy()).mean() < 0.03


def test_every_crop_is_a_window_of_the_padded_image(images):
    many = images[:1].expand(400, -1, -1, -1)
    padded = torch.nn.functional.pad(images[0], (4,) * 4)
    windows = {(t, s): padded[:, t : t + 16, s : s + 20] for t in range(9) for s in range(9)}
    found = set()
    for crop in G.random_crop(many, seeded()):
        found.add(next(place for place, window in windows.items() if torch.equal(window, crop)))
    assert len(found) > 70  # of 81 places, 400 draws miss on average less than one


def test_flips_mirror_about_half_of_the_images(images):
    many = images[:1].expand(300, -1, -1, -1)
    flipped = G.random_flip(many, seeded())
    mirrored = (flipped == images[0].flip(2)).all(3).all(2).all(1)
    assert (mirrored | (flipped == images[0]).all(3).all(2).all(1)).all()
    assert 110 < mirrored.sum() < 190


def test_holes_are_black_squares_and_nothing_else_changes(images):
    bright = images.clamp(min=1)
    holed = G.cutout(bright, seeded(), side=6)
    for before, after in zip(bright, holed, strict=True):
        hole = (after == 0).all(0)
        rows, columns = hole.any(1).nonzero().squeeze(1), hole.any(0).nonzero().squeeze(1)
        assert torch.equal(hole.nonzero(), torch.cartesian_prod(rows, columns))
        assert 3 <= len(rows) <= 6 and 3 <= len(columns) <= 6
        assert torch.equal(before[:, ~hole], after[:, ~hole])


def test_the_policy_is_the_published_one():
    theirs = AutoAugment(AutoAugmentPolicy.CIFAR10).policies
    ours = [[(name, chance) for name, chance, _ in pair] for pair in CIFAR_POLICY]
    assert ours == [[(name, chance) for name, chance, _ in pair] for pair in theirs]
    for pair, their_pair in zip(CIFAR_POLICY, theirs, strict=True):
        for (_, _, level), (_, _, their_level) in zip(pair, their_pair, strict=True):
            assert their_level in (level, None)  # None where the operation has no strength


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("channels", [1, 3])
def test_operations_keep_shape_and_type_and_each_image_apart(name, channels):
    images = torch.randint(256, (5, channels, 12, 12), dtype=torch.uint8, generator=seeded(2))
    strength, sign = torch.linspace(0, 1, 5), torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0])
    together = OPERATIONS[name](images, strength, sign)
    assert together.shape == images.shape and together.dtype == torch.uint8
    for row in range(5):
        alone = OPERATIONS[name](images[row : row + 1], strength[row : row + 1], sign[row : row + 1])
        assert torch.equal(alone[0], together[row])


@pytest.mark.parametrize("policy", [auto_augment, rand_augment])
def test_policies_repeat_by_seed_and_leave_their_input_alone(images, policy):
    before = images.clone()
    assert torch.equal(policy(images, seeded(5)), policy(images, seeded(5)))
    assert not torch.equal(policy(images, seeded(5)), policy(images, seeded(6)))
    assert torch.equal(images, before)


def test_jitter_is_torchvisions_with_factors_of_each_image_and_an_order_of_the_batch(images):
    ours, draws = color_jitter(images, seeded(4)), seeded(4)
    factors = 1 + 0.4 * (2 * torch.rand(3, len(images), generator=draws) - 1)
    order = torch.randperm(3, generator=draws).tolist()
    assert factors.min() < 0.8 and factors.max() > 1.2 and not torch.equal(ours, images)
    steps = (T.adjust_brightness, T.adjust_contrast, T.adjust_saturation)
    for row, image in enumerate(images):
        for place in order:
            image = steps[place](image, float(factors[place, row]))
        assert (ours[row].int() - image.int()).abs().max() <= 3  # a last digit cut at each of three steps
    assert placed_augmentation("jitter")(images, seeded(4)).equal(ours) and placed_augmentation("crop-flip") is None


@pytest.mark.parametrize("name", AUGMENTATIONS)
@pytest.mark.parametrize("channels", [1, 3])
def test_every_augmentation_has_a_form_that_works(name, channels):
    entry = AUGMENTATIONS[name]
    assert entry.about and entry.paper and (entry.value.steps is not None or entry.value.reading is not None)
    if entry.value.steps:
        images = torch.randint(256, (32, channels, 28, 28), dtype=torch.uint8)
        out = batched_augmentation(name)(images, seeded())
        assert out.shape == images.shape and out.dtype == torch.uint8 and not torch.equal(out, images)
    if entry.value.reading is not None and channels == 3:
        image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8))
        out = reading_augmentation(name, 24)(image)
        assert out.size == (24, 24) and out.mode == "RGB"


def test_names_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="'blur'"):
        batched_augmentation("blur")
    with pytest.raises(InputError, match="for large images"):
        batched_augmentation("jitter")
    assert batched_augmentation("none") is None and reading_augmentation("none", 24) is None
