"""Attention and other operations without a right second derivative of their own, against differences of gradients."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from landscape.execution.second_order import PlainOperations, math_attention
from landscape.execution.thread_pool import ThreadPool
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.subject.samples import TensorSamples
from landscape.subject.subject import Subject
from tests.zoo.sequences import Attention, Bag, Encoder, Fused
from training.models import build_model

COUNTS = (7, 4, 1)


def subject_of(net: nn.Module, *shape: int, tokens: bool = False) -> Subject:
    generator = torch.Generator().manual_seed(0)
    labels = torch.repeat_interleave(torch.arange(3), torch.tensor(COUNTS))
    data = torch.randint(7, (12, *shape), generator=generator) if tokens else None
    data = torch.randn(12, *shape, generator=generator) if data is None else data
    return Subject(net, TensorSamples(data, labels), train_counts=COUNTS, dtype=torch.float64)


def vit() -> nn.Module:
    from torchvision.models import VisionTransformer

    net = VisionTransformer(
        image_size=8, patch_size=4, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3
    )
    nn.init.normal_(net.heads.head.weight)
    return net


def normed() -> nn.Module:
    return nn.Sequential(
        nn.Linear(4, 4), nn.Tanh(), parametrizations.weight_norm(nn.Linear(4, 4)), nn.Tanh(), nn.Linear(4, 3)
    )


NETWORKS = {
    "MultiheadAttention": (Attention, (5, 4)),
    "TransformerEncoder": (Encoder, (5, 4)),
    "scaled_dot_product_attention": (Fused, (5, 4)),
    "torchvision's vit": (vit, (3, 8, 8)),
    "vit-small": (lambda: build_model("vit-small", size=16, in_channels=1, classes=3), (1, 16, 16)),
    "weight_norm": (normed, (4,)),
    "hardsigmoid": (lambda: nn.Sequential(nn.Linear(4, 4), nn.Hardsigmoid(), nn.Linear(4, 3)), (4,)),
}


def differences(of: Subject, rows: slice, vector: Tensor, step: float = 1e-5) -> Tensor:
    """Hv from two gradients, which fused kernels have."""
    parameters, ends = list(of.parameters.values()), []
    for sign in (step, -step):
        with of.placed(of.vector() + sign * vector):
            loss = of.loss(of.network(of.inputs(rows)), of.labels[rows]).mean()
            ends.append(
                torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, parameters, materialize_grads=True)])
            )
    return (ends[0] - ends[1]) / (2 * step)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.exhaustive] * (n == "vit-small")) for n in NETWORKS]
)
def test_products_are_differences_of_gradients(name, workers):
    torch.manual_seed(0)
    build, shape = NETWORKS[name]
    of = subject_of(build(), *shape)
    vector = torch.randn(of.size, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vector /= vector.norm()
    product = HessianFactory(of, Plan(5, keep=7, workers=workers)).of(of.subsets[0])(vector)
    expected = differences(of, slice(0, 12), vector)
    torch.testing.assert_close(product, expected, rtol=0, atol=1e-5 * float(expected.norm()))


@pytest.mark.parametrize("mode", ["mean", "sum", "max"])
def test_bags_of_embeddings(mode):
    torch.manual_seed(0)
    of = subject_of(type("Mode", (Bag,), {"mode": mode})(), 5, tokens=True)
    vector = torch.ones(of.size, dtype=torch.float64)
    product = HessianFactory(of, Plan(5)).of(of.subsets[0])(vector)
    torch.testing.assert_close(product, differences(of, slice(0, 12), vector), rtol=0, atol=1e-6)
    with PlainOperations():
        plain = of.network(of.inputs(slice(0, 12)))
    torch.testing.assert_close(plain, of.network(of.inputs(slice(0, 12))))


def test_the_choice_of_attention_reaches_other_threads_and_is_put_back():
    q = torch.ones(1, 1, 2, 2, requires_grad=True)

    def name(_: int) -> str:
        return functional.scaled_dot_product_attention(q, q, q).grad_fn.name()

    before = name(0)
    with math_attention():
        assert set(ThreadPool(2).map(name, range(4))) == {name(0)} != {before}
        assert not torch.backends.mha.get_fastpath_enabled()
    assert name(0) == before and torch.backends.mha.get_fastpath_enabled()
