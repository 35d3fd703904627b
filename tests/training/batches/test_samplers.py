"""How often each class is drawn, against the formulas."""

import pytest
import torch

from foundation.errors import InputError
from training.batches.samplers import SAMPLERS, class_shares, epoch_order

COUNTS = torch.tensor([400.0, 90.0, 10.0], dtype=torch.float64)
LABELS = torch.arange(3).repeat_interleave(COUNTS.long())[
    torch.randperm(500, generator=torch.Generator().manual_seed(9))
]


def test_shares_follow_their_formulas():
    roots = torch.tensor([20, 90**0.5, 10**0.5], dtype=torch.float64)
    expected = {
        ("class-balanced", 0.3): [1 / 3] * 3,
        ("square-root", 0.3): (roots / roots.sum()).tolist(),
        ("progressive", 0.0): [0.8, 0.18, 0.02],
        ("progressive", 0.5): [0.4 + 1 / 6, 0.09 + 1 / 6, 0.01 + 1 / 6],
        ("progressive", 1.0): [1 / 3] * 3,
    }
    for (sampler, progress), shares in expected.items():
        assert class_shares(sampler, COUNTS, progress=progress).tolist() == pytest.approx(shares)


def test_a_class_without_images_is_never_drawn():
    for sampler in SAMPLERS:
        shares = class_shares(sampler, torch.tensor([5.0, 0.0, 5.0], dtype=torch.float64), progress=0.5)
        assert shares.tolist() == pytest.approx([0.5, 0, 0.5])
    order = epoch_order("class-balanced", torch.tensor([0, 2, 2]), 4, progress=0, generator=torch.Generator())
    assert order.min() >= 0 and order.max() <= 2


def test_without_a_sampler_every_image_comes_once():
    order = epoch_order(None, LABELS, 3, progress=0.0, generator=torch.Generator().manual_seed(0))
    assert torch.equal(order.sort().values, torch.arange(500)) and not torch.equal(order, torch.arange(500))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_classes_are_drawn_by_their_shares_and_images_alike_within(sampler):
    generator = torch.Generator().manual_seed(0)
    drawn = torch.cat([epoch_order(sampler, LABELS, 3, progress=0.7, generator=generator) for _ in range(200)])
    shares = class_shares(sampler, COUNTS, progress=0.7)
    found = LABELS[drawn].bincount(minlength=3) / len(drawn)
    deviation = (shares * (1 - shares) / len(drawn)).sqrt()
    assert ((found - shares).abs() < 4.5 * deviation).all()
    times = drawn.bincount(minlength=500)[LABELS == 2].double()  # ten images: χ² with 9 degrees of freedom
    assert ((times - times.mean()).square().sum() / times.mean()) < 40


def test_an_unknown_sampler_is_refused():
    with pytest.raises(InputError, match="'cubic'"):
        class_shares("cubic", COUNTS, progress=0.0)
