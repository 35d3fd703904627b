"""Mixed images hold what their label shares say."""

import numpy as np
import pytest
import torch
from scipy import stats

from training.batches.mixing import Mixer, patch
from training.methods.parts import Mixing

IMAGES = torch.arange(8.0).view(8, 1, 1, 1).expand(8, 3, 10, 12).contiguous()  # image k is all k
LABELS = torch.arange(8)


def test_mixup_blends_images_as_their_labels():
    mixer = Mixer(Mixing("mixup", {"alpha": 1.0}), epochs=10)
    assert not mixer.pastes(5)
    random, shares = np.random.RandomState(0), []
    for _ in range(200):
        images, (others, share) = mixer.mix(IMAGES, LABELS, None, random)
        expected = share * LABELS + (1 - share) * others
        torch.testing.assert_close(images, expected.view(8, 1, 1, 1).expand_as(images))
        assert torch.equal(others.sort().values, LABELS)
        shares.append(share)
    assert stats.kstest(shares, "uniform").pvalue > 0.01  # Beta(1, 1)


def test_cmo_pastes_a_patch_and_counts_its_pixels():
    mixer = Mixer(Mixing("cmo", {"probability": 1.0, "alpha": 1.0, "unmixed_epochs": 3}), epochs=10)
    random = np.random.RandomState(1)
    others = (IMAGES + 100, LABELS + 100)
    for _ in range(100):
        images, (labels, share) = mixer.mix(IMAGES, LABELS, others, random)
        pasted = images >= 100
        assert pasted.float().mean() == pytest.approx(1 - share, abs=1e-6)
        assert torch.equal(images, torch.where(pasted, others[0], IMAGES)) and torch.equal(labels, LABELS + 100)
        rows, columns = pasted[0, 0].any(1).nonzero(), pasted[0, 0].any(0).nonzero()
        assert pasted[0, 0].sum() == len(rows) * len(columns)  # a rectangle
    assert IMAGES.max() == 7  # the batch itself is left alone


def test_cmo_rests_in_the_first_and_last_epochs_and_in_half_of_the_batches():
    mixer = Mixer(Mixing("cmo", {"probability": 0.5, "alpha": 1.0, "unmixed_epochs": 3}), epochs=10)
    assert [epoch for epoch in range(10) if mixer.pastes(epoch)] == [3, 4, 5, 6]
    random = np.random.RandomState(2)
    mixed = [mixer.mix(IMAGES, LABELS, (IMAGES, LABELS), random)[1] is not None for _ in range(400)]
    assert 160 < sum(mixed) < 240
    images, mix = mixer.mix(IMAGES, LABELS, None, random)
    assert mix is None and images is IMAGES


def test_patches_cover_the_share_they_should():
    random = np.random.RandomState(3)
    for share in (0.0, 0.36, 0.75, 1.0):
        sides = set()
        for _ in range(300):
            top, bottom, left, right = patch(40, 40, share, random)
            assert 0 <= top <= bottom <= 40 and 0 <= left <= right <= 40
            sides.add((bottom - top, right - left))
        whole = 2 * (int(40 * (1 - share) ** 0.5) // 2)
        assert max(sides) == (whole, whole)
