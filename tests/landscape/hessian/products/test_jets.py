"""Second-order Taylor expansions against reverse mode in float64, operator by operator."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.nn import functional

from landscape.hessian.products.jets import composed_attention, two_jets


class Net(nn.Module):
    """Two features a position, and what is done with them."""

    def __init__(self, then: Callable[[Net, Tensor], Tensor], **parts: nn.Module) -> None:
        super().__init__()
        self.first, self.then = nn.Conv2d(1, 4, 3, padding=1), then
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, inputs: Tensor) -> Tensor:
        return self.then(self, self.first(inputs)).flatten(1)


def made(*layers: nn.Module) -> nn.Module:
    return nn.Sequential(*layers)


def body(*layers: nn.Module) -> nn.Module:
    """Layers behind a convolution."""
    return made(nn.Conv2d(1, 4, 3, padding=1), *layers)


def in_place(net: Net, x: Tensor) -> Tensor:
    y = net.second(functional.relu_(x))
    y += x
    y[:, :2] *= 2
    y[:, 2] = x[:, 0] ** 2
    view = y.flatten(1)
    view.mul_(x.flatten(1))
    return y


def attention(net: Net, x: Tensor) -> Tensor:
    tokens = x.flatten(2).transpose(1, 2)
    return net.attend(net.norm(tokens), tokens, tokens, need_weights=False)[0]


def cosine(net: Net, x: Tensor) -> Tensor:
    weight = functional.normalize(net.head.weight)
    return 16 * functional.normalize(torch.tanh(x.mean((2, 3)))) @ weight.t()


NETWORKS = {
    "convolutions": lambda: body(nn.Conv2d(4, 4, 3, stride=2, groups=2, dilation=2, padding=2, bias=False)),
    "transposed convolution": lambda: body(nn.ConvTranspose2d(4, 3, 2, stride=2)),
    "one and three dimensions": lambda: Net(
        lambda net, x: net.three(net.one(x.flatten(2)).view(-1, 1, 3, 4, 9)),
        one=nn.Conv1d(4, 3, 1),
        three=nn.Conv3d(1, 2, 3, padding=1),
    ),
    "batch norm": lambda: body(nn.BatchNorm2d(4), nn.GELU(), nn.Flatten(), nn.Linear(144, 5)),
    "batch norm of a batch": lambda: body(nn.BatchNorm2d(4, track_running_stats=False)),
    "layer norm": lambda: body(nn.Flatten(2), nn.LayerNorm(36), nn.LayerNorm([4, 36], elementwise_affine=False)),
    "group norm": lambda: body(nn.GroupNorm(2, 4)),
    "instance norm": lambda: body(nn.InstanceNorm2d(4, affine=True), nn.InstanceNorm2d(4)),
    "pools": lambda: body(
        nn.MaxPool2d(3, stride=1), nn.AvgPool2d(2, padding=1), nn.AdaptiveMaxPool2d(2), nn.AdaptiveAvgPool2d(1)
    ),
    "rectifiers": lambda: body(nn.ReLU(), nn.LeakyReLU(), nn.PReLU(), nn.ReLU6(inplace=True), nn.Hardtanh()),
    "smooth activations": lambda: body(nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Tanh(), nn.Sigmoid(), nn.ELU()),
    "more activations": lambda: body(nn.Softplus(), nn.Mish(), nn.Hardswish(), nn.SELU(), nn.Softsign(), nn.CELU()),
    "softmax": lambda: body(nn.Flatten(), nn.Softmax(1), nn.Linear(144, 5), nn.LogSoftmax(1)),
    "interpolation and padding": lambda: body(
        nn.Upsample(scale_factor=2), nn.ZeroPad2d(1), nn.Upsample(scale_factor=0.5, mode="bilinear")
    ),
    "writing in place": lambda: Net(in_place, second=nn.Conv2d(4, 4, 1)),
    "attention": lambda: Net(attention, norm=nn.LayerNorm(4), attend=nn.MultiheadAttention(4, 2, batch_first=True)),
    "encoder": lambda: Net(
        lambda net, x: net.encoder(x.flatten(2).transpose(1, 2)),
        encoder=nn.TransformerEncoderLayer(4, 2, 8, 0.0, activation="gelu", batch_first=True),
    ),
    "cosine head": lambda: Net(cosine, head=nn.Linear(4, 5, bias=False)),
    "recurrent": lambda: Net(
        lambda net, x: net.recurrent(x.flatten(2).transpose(1, 2))[0][:, -1],
        recurrent=nn.LSTM(4, 3, batch_first=True),
    ),
    "a sum of products": lambda: Net(
        lambda net, x: torch.cat([torch.einsum("nchw,nchw->nc", x, x / (2 + x.square())), 2 - x.amax((2, 3))], 1)
    ),
    "choices and constants": lambda: Net(lambda net, x: torch.where(x > 0, x.exp(), 1.5) + (x - 3).clamp(-3.5, -2.5)),
}


def expanded(net: nn.Module, inputs: Tensor, seed: int = 1) -> tuple[Tensor, list, list, list]:
    parameters = list(net.parameters())
    generator = torch.Generator().manual_seed(seed)
    vectors = [[torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters] for _ in range(2)]
    with composed_attention():
        outputs, jets = two_jets(net, inputs, parameters, vectors)
    return outputs, jets, vectors, parameters


def inputs() -> Tensor:
    return torch.randn(3, 1, 6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def double(build: Callable[[], nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    net = build().double().eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d) and module.running_var is not None:
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return net


def by_reverse_mode(net: nn.Module, seen: Tensor, vector: list[Tensor], parameters: list) -> tuple[float, float]:
    """cᵀz′ and cᵀz″ of the outputs' mixture c, by gradients and a product."""
    with composed_attention():
        outputs = net(seen)
        mixture = (outputs * weights(outputs)).sum()
        gradients = torch.autograd.grad(mixture, parameters, create_graph=True, materialize_grads=True)
        slope = sum((g * v).sum() for g, v in zip(gradients, vector, strict=True))
        curved = torch.autograd.grad(slope, parameters, allow_unused=True, materialize_grads=True)
    return float(slope.detach()), float(sum((c * v).sum() for c, v in zip(curved, vector, strict=True)))


def weights(outputs: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(outputs.shape, generator=generator, dtype=outputs.dtype)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)
def test_both_derivatives_are_those_of_reverse_mode(build):
    net = double(build)
    outputs, jets, vectors, parameters = expanded(net, inputs())
    with torch.no_grad():
        torch.testing.assert_close(outputs, net(inputs()), rtol=1e-9, atol=1e-9)
    for (first, second), vector in zip(jets, vectors, strict=True):
        slope, curvature = by_reverse_mode(net, inputs(), vector, parameters)
        assert float((first * weights(first)).sum()) == pytest.approx(slope, rel=1e-9, abs=1e-9)
        assert float((second * weights(second)).sum()) == pytest.approx(curvature, rel=1e-8, abs=1e-8)


def test_nothing_is_left_behind():
    net = double(NETWORKS["writing in place"])
    before = [p.detach().clone() for p in net.parameters()]
    seen = inputs()
    expanded(net, seen)
    assert torch.equal(seen, inputs())
    for old, new in zip(before, net.parameters(), strict=True):
        assert torch.equal(old, new) and new.grad is None and new.requires_grad


def test_parameters_that_do_not_move_are_constants():
    net = double(NETWORKS["batch norm"])
    some = [net[4].weight]
    vector = [[torch.ones_like(p) for p in some]]
    _, [(first, second)] = two_jets(net, inputs(), some, vector)
    slope, curvature = by_reverse_mode(net, inputs(), vector[0], some)
    assert float((first * weights(first)).sum()) == pytest.approx(slope, rel=1e-12)
    assert curvature == 0 and not second.any()


def test_outputs_that_do_not_depend_on_the_parameters():
    net = Net(lambda net, x: torch.zeros_like(x)).double()
    _, jets, *_ = expanded(net, inputs())
    assert not any(part.any() for jet in jets for part in jet)


class _Once(Function):
    """sin x, whose derivative knows no derivative."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return torch.from_numpy(x.detach().numpy()).sin()

    @staticmethod
    def backward(ctx, gradient):
        return gradient * ctx.saved_tensors[0].cos()


REFUSED = {
    "written into a tensor at rest": lambda net, x: torch.zeros(3, 8, 6, 6, dtype=x.dtype).index_add_(
        1, torch.arange(4), x
    ),
    "several results": lambda net, x: sum(torch.linalg.eigh(x @ x.mT)[0].unbind(1)),
    "numpy": lambda net, x: _Once.apply(x),
}


@pytest.mark.parametrize("then", REFUSED.values(), ids=REFUSED)
def test_what_is_not_known_is_refused_or_wrong_numbers_are_seen_by_the_caller(then):
    """Numbers that leave PyTorch lose their jets without a word: `per_sample_curvature` compares with a product."""
    net = Net(then).double()
    if then is REFUSED["numpy"]:
        assert not any(part.any() for jet in expanded(net, inputs())[1] for part in jet)
    else:
        with pytest.raises(RuntimeError):
            expanded(net, inputs())
