import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from foundation.errors import InputError
from landscape.subject.batch_norm import recalibrate
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 4)
    )


def samples(counts=(9, 4, 2, 1)) -> TensorSamples:
    generator = torch.Generator().manual_seed(1)
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    return TensorSamples(torch.randn(len(labels), 1, 6, 6, generator=generator), labels)


def test_every_subset_loss_is_the_mean_over_its_samples_whatever_the_batches():
    data = samples()
    subject = Subject(network(), data, train_counts=[9, 4, 2, 1], dtype=torch.float64)
    with torch.no_grad():
        losses = functional.cross_entropy(network().double().eval()(data.data.double()), data.labels, reduction="none")
    by_class = [losses[data.labels == c].mean() for c in range(4)]
    for subset in subject.subsets:
        members = torch.isin(data.labels, torch.tensor(subset.classes))
        expected = torch.stack(by_class).mean() if subset.kind == "balanced" else losses[members].mean()
        for size in (1, 3, 100):
            got = sum(
                (subject.loss(subject.network(b.inputs), b.targets) * b.weights).sum()
                for b in subject.batches(subset, size)
            )
            torch.testing.assert_close(got.detach(), expected)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=50, deadline=None)
def test_subsets_are_contiguous_rows_of_their_own_classes(counts, random):
    if sum(counts) == 0:
        counts[0] = 1
    train_counts = [random.randint(0, 200) for _ in counts]
    labels = torch.tensor([c for c, n in enumerate(counts) for _ in range(n)])
    order = list(range(len(labels)))
    random.shuffle(order)
    labels = labels[order]
    data = TensorSamples(torch.arange(len(labels), dtype=torch.float32)[:, None], labels)
    subject = Subject(nn.Linear(1, len(counts)), data, train_counts=train_counts)
    assert len(subject.subsets) + len(subject.absent) == len(counts) + (5 if len(set(train_counts)) > 1 else 2)
    for subset in subject.subsets:
        rows = subject.rows(subset)
        assert set(subject.labels[rows].tolist()) == {c for c in subset.classes if counts[c]}
        assert rows.stop - rows.start == subset.measured_count
        assert float(subject.weights(subset).sum()) == pytest.approx(1.0)
        original = subject.inputs(rows)[:, 0].long()
        assert torch.equal(labels[original], subject.labels[rows])


def test_the_callers_network_is_never_touched():
    mine = network().train()
    mine[0].weight.requires_grad_(False)
    mine[5].weight.grad = torch.ones_like(mine[5].weight)
    before = copy.deepcopy(mine.state_dict())
    subject = Subject(mine, samples(), train_counts=[9, 4, 2, 1])
    subject.recalibrate(samples())
    with subject.placed(torch.zeros(subject.size)):
        assert float(subject.network[5].weight.detach().abs().sum()) == 0
    assert mine.training and not mine[0].weight.requires_grad
    assert torch.equal(mine[5].weight.grad, torch.ones_like(mine[5].weight))
    assert all(torch.equal(value, before[key]) for key, value in mine.state_dict().items())


def test_weights_come_back_after_an_exception():
    subject = Subject(network(), samples(), train_counts=[9, 4, 2, 1])
    before = subject.vector()
    with pytest.raises(RuntimeError), subject.placed(before + 1):
        raise RuntimeError
    assert torch.equal(subject.vector(), before)
    assert torch.equal(torch.cat([p.detach().reshape(-1) for p in subject.network.parameters()]), before)


def test_twins_are_found_on_an_even_split_only():
    even = Subject(network(), samples((3, 3, 3, 3)), train_counts=[9, 4, 2, 1])
    named = {s.name: s for s in even.subsets}
    assert even.twin(named["balanced"]) == named["all"]
    assert even.twin(named["class:3"]) == named["few"]  # a group of one class
    uneven = Subject(network(), samples(), train_counts=[9, 4, 2, 1])
    assert uneven.twin(uneven.subsets[1]) is None


def test_chosen_parameters_alone_are_measured():
    subject = Subject(network(), samples(), train_counts=[9, 4, 2, 1], params=["5.*"])
    assert list(subject.parameters) == ["5.weight", "5.bias"] and subject.size == 20
    assert [n for n, p in subject.network.named_parameters() if p.requires_grad] == ["5.weight", "5.bias"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"subsets": ["class:9"]}, "unknown subset 'class:9'"),
        ({"params": ["layer9.*"]}, "no parameter matches 'layer9.*'"),
        ({"batch_norm": "train"}, "unknown batch-norm mode 'train'"),
        ({"train_counts": [5, 5]}, "label 3 is outside the 2 classes"),
    ],
)
def test_bad_input_is_one_sentence(options, said):
    with pytest.raises(InputError, match=said.replace("*", r"\*")):
        Subject(network(), samples(), **{"train_counts": [9, 4, 2, 1], **options})


def test_recalibration_equals_one_training_pass_over_everything():
    ours, theirs, inputs = network(), network(), samples().data
    recalibrate(ours, [inputs])
    theirs[1].momentum = 1.0
    theirs.train()(inputs)
    torch.testing.assert_close(ours[1].running_mean, theirs[1].running_mean)
    n = len(inputs) * 16  # PyTorch keeps the unbiased variance
    torch.testing.assert_close(ours[1].running_var, theirs[1].running_var * (n - 1) / n)
    assert ours[1].num_batches_tracked == 0 and ours.training
    recalibrate(theirs, inputs.split(5))  # one layer: pooling over ragged batches is exact too
    torch.testing.assert_close(theirs[1].running_var, ours[1].running_var)
