"""Every form of data, outputs and inputs gives the loss and the derivatives that plain autograd gives."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
)

from foundation.errors import InputError, LandscapeError
from landscape.execution.checks import check_loss
from landscape.execution.evaluate import evaluate
from landscape.execution.gradient import loss_and_gradient
from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.result import HessianSettings
from landscape.sharpness.measure import measure_sharpness
from landscape.sharpness.result import SharpnessSettings
from landscape.subject.subject import Subject

COUNTS = (9, 5, 3)


def arrays() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    labels = labels[torch.randperm(len(labels), generator=generator)]
    return torch.randn(len(labels), 5, generator=generator, dtype=torch.float64), labels


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 3)).double()


class Items(Dataset):
    """A map-style data set of other kinds of items."""

    def __init__(self, kind: str) -> None:
        self.kind, (self.x, self.y) = kind, arrays()

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, i: int):
        if self.kind == "dict":
            return {"inputs": self.x[i], "labels": int(self.y[i])}
        return self.x[i].numpy(), int(self.y[i])


class Stream(IterableDataset):
    def __iter__(self):
        yield from zip(*arrays(), strict=True)


def forms() -> dict[str, object]:
    x, y = arrays()
    batches = [(x[i : i + 4], y[i : i + 4]) for i in range(0, len(y), 4)]
    return {
        "tensors": (x, y),
        "numpy": (x.numpy()[:, ::-1].copy()[:, ::-1], y.numpy()),
        "lists": (x.tolist(), y.tolist()),
        "int32 labels": (x, y.int()),
        "tensor data set": TensorDataset(x, y),
        "data set": Items("pair"),
        "loader": DataLoader(TensorDataset(x, y), batch_size=4),
        "shuffled loader": DataLoader(Items("pair"), batch_size=5, shuffle=True, drop_last=True),
        "subset loader": DataLoader(TensorDataset(x, y), sampler=SubsetRandomSampler(range(len(y)))),
        "batches": batches,
        "generator": (batch for batch in batches),
        "stream": Stream(),
        "stream loader": DataLoader(Stream(), batch_size=3),
        "loader of batches": DataLoader(batches, batch_size=None),
    }


@pytest.mark.parametrize("form", list(forms()))
def test_every_form_of_data_is_the_same_data(form):
    data = forms()[form]
    (x, y), net = arrays(), network()
    if form == "lists":
        data = (np.array(data[0]), data[1])
    subject = Subject(net, data, train_counts=COUNTS, dtype=torch.float64)
    losses = functional.cross_entropy(net(x), y, reduction="none").detach()
    right = (net(x).argmax(1) == y).double()
    found = evaluate(subject)
    for name, loss, accuracy in zip(found.subset, found.loss, found.accuracy, strict=True):
        if name.startswith("class:"):
            inside = y == int(name[6:])
            assert loss == pytest.approx(float(losses[inside].mean()), rel=1e-12)
            assert accuracy == pytest.approx(float(right[inside].mean()))


def test_counts_of_the_data_order_the_classes_where_none_are_given():
    x, y = arrays()
    subject = Subject(network(), (x, 2 - y), dtype=torch.float64)
    assert [s.name for s in subject.subsets if s.kind == "class"] == ["class:2", "class:1", "class:0"]
    assert [s.train_count for s in subject.subsets if s.kind == "class"] == list(COUNTS)


def test_even_classes_are_in_no_group():
    x, _ = arrays()
    subject = Subject(network(), (x[:15], torch.arange(15) % 3))
    assert [s.name for s in subject.subsets] == ["all", "balanced", "class:0", "class:1", "class:2"]
    assert subject.absent == () and subject.groups.rule == "even"


class Two(nn.Module):
    """Takes a sequence of tokens and numbers, by position or by name, and answers in the form that is asked for."""

    def __init__(self, answer: str = "tensor") -> None:
        super().__init__()
        torch.manual_seed(1)
        self.words, self.numbers, self.head = nn.Embedding(7, 3), nn.Linear(5, 3), nn.Linear(3, 3)
        self.answer = answer

    def forward(self, tokens, extra):
        hidden = torch.tanh(self.words(tokens).mean(1) + self.numbers(extra["x"]))
        logits = self.head(hidden)
        forms = {"tensor": logits, "dict": {"out": logits}, "tuple": (logits, hidden)}
        if self.answer == "object":
            return type("Output", (), {"logits": logits})()
        return forms[self.answer]


def nested(form: str):
    x, y = arrays()
    tokens = torch.randint(0, 7, (len(y), 6), generator=torch.Generator().manual_seed(2))
    inputs = {"tokens": tokens, "extra": {"x": x}} if form == "dict" else (tokens, {"x": x})
    return inputs, y


def reference(net: nn.Module, inputs, y: torch.Tensor, inside: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Gradient and dense Hessian of the mean loss of some samples, by autograd alone."""
    parameters = list(net.parameters())
    tokens, extra = inputs.values() if isinstance(inputs, dict) else inputs
    loss = functional.cross_entropy(net(tokens[inside], {"x": extra["x"][inside]}), y[inside])
    gradient = torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, create_graph=True)])
    rows = [torch.autograd.grad(g, parameters, retain_graph=True, materialize_grads=True) for g in gradient]
    return gradient.detach(), torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])


@pytest.mark.parametrize("form", ["dict", "tuple"])
def test_nested_inputs_have_the_curvature_of_plain_autograd(form):
    net, (inputs, y) = Two().double(), nested(form)
    subject = Subject(net, (inputs, y), dtype=torch.float64)
    result = measure_hessian(subject, settings=HessianSettings(top=2, tol=1e-8))
    for subset in subject.subsets:
        if subset.kind != "class":
            continue
        gradient, hessian = reference(net, inputs, y, y == subset.classes[0])
        values = torch.linalg.eigvalsh(hessian)
        curvature = result.of(subset.name)
        assert curvature.top.values[:2] == pytest.approx(values.flip(0)[:2].numpy(), rel=1e-7)
        assert curvature.bottom.outermost == pytest.approx(float(values[0]), rel=1e-7, abs=1e-9)
        assert curvature.gradient_norm == pytest.approx(float(gradient.norm().detach()), rel=1e-10)
        factory = HessianFactory(subject, Plan(chunk=2))
        v = torch.randn(subject.size, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        torch.testing.assert_close(factory.of(subset)(v), hessian @ v)
        _, ours = loss_and_gradient(subject, subject.batches(subset, 2), subject.vector())
        torch.testing.assert_close(ours, gradient)
    assert measure_sharpness(subject, settings=SharpnessSettings(radii=(0.1,), draws=2, steps=1)).sam.shape == (8, 1)


@pytest.mark.parametrize(
    ("answer", "forward"),
    [
        ("object", lambda network, inputs: network(**inputs).logits),
        ("dict", lambda network, inputs: network(**inputs)["out"]),
        ("tuple", lambda network, inputs: network(**inputs)[0]),
    ],
)
def test_outputs_of_any_form_by_a_forward(answer, forward):
    data = nested("dict")
    plain = Subject(Two().double(), data, dtype=torch.float64)
    subject = Subject(Two(answer).double(), data, forward=forward, dtype=torch.float64)
    assert evaluate(subject).loss == pytest.approx(evaluate(plain).loss, rel=1e-12)
    assert list(subject.parameters) == list(plain.parameters)
    with pytest.raises(InputError, match="say which tensor of it is meant, such as forward=lambda"):
        check_loss(Subject(Two(answer).double(), data, dtype=torch.float64))


def test_globs_are_of_the_networks_own_names():
    subject = Subject(Two(), nested("dict"), params=["head.*"])
    assert list(subject.parameters) == ["head.weight", "head.bias"]


def test_inputs_padded_to_the_longest_of_a_batch_are_measured():
    """A collate function pads; what a sample is padded to depends on its company, its logits do not."""

    class Sentences(Dataset):
        def __len__(self) -> int:
            return 8

        def __getitem__(self, i):
            return torch.arange(1, 2 + i % 4), i % 2

    def collate(items):
        tokens = nn.utils.rnn.pad_sequence([t for t, _ in items], batch_first=True)
        return {"tokens": tokens, "labels": torch.tensor([label for _, label in items])}

    class Masked(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words, self.head = nn.Embedding(6, 3), nn.Linear(3, 2)

        def forward(self, tokens):
            mask = (tokens > 0)[..., None].double()
            return self.head((self.words(tokens) * mask).sum(1) / mask.sum(1))

    torch.manual_seed(0)
    net = Masked().double()
    losses = [functional.cross_entropy(net(Sentences()[i][0][None]), torch.tensor([i % 2])).item() for i in range(8)]
    subject = Subject(net, Sentences(), collate=collate, dtype=torch.float64)
    check_loss(subject)
    assert evaluate(subject).loss[0] == pytest.approx(np.mean(losses), rel=1e-12)


def test_an_augmenting_data_set_is_named():
    class Augmented(Items):
        def __getitem__(self, i):
            x, y = super().__getitem__(i)
            return x + np.random.default_rng().normal(size=x.shape), y

    with pytest.raises(LandscapeError, match="switch their augmentation off"):
        check_loss(Subject(network(), DataLoader(Augmented("pair"), batch_size=4), dtype=torch.float64))


X, Y = arrays()


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ((X, Y[:-1]), "do not go with targets"),
        (({"a": X, "b": X[:3]}, Y), "do not go with targets"),
        ((X, Y - 1), "label -1 is negative"),
        ((X, Y.double()), "are no class of each sample"),
        ((X, functional.one_hot(Y)), "are no class of each sample"),
        ((X, Y, Y), "is no data"),
        (X, "is no data"),
        ([], "no samples to measure"),
        ((X[:0], Y[:0]), "no samples to measure"),
        ([X, Y], "a batch is a Tensor"),
        ([(X, Y, Y)], "a batch is a tuple of 3"),
        ([{"x": X}], "but no 'labels'"),
        ((["a", "b"], [0, 1]), "the data hold a str"),
        ([(X[:4], Y[:4]), (X[4:8, :3], Y[4:8])], "pad them to one"),
        ([(X[:4], Y[:4]), ((X[4:8], X[4:8]), Y[4:8])], "pad them to one"),
        (DataLoader(TensorDataset(X, Y), sampler=WeightedRandomSampler([1.0] * 17, 17)), "WeightedRandomSampler"),
        (DataLoader(TensorDataset(X, Y), batch_sampler=[[0, 1], [2]]), "draws its samples by a list"),
    ],
)
def test_what_is_no_data_is_said_in_one_sentence(data, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        Subject(network(), data)
    assert "\n" not in str(caught.value)
