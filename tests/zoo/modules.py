"""Networks with aliased, tied, stateful, hooked, wrapped and otherwise odd modules."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.zoo.registry import CLASSES, IMAGE, ROW, Small, network


@network(IMAGE, "aliased modules")
class Aliased(Small):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(self.conv, self.norm, nn.ReLU())

    def features(self, x: Tensor) -> Tensor:
        return self.body(x)


@network(ROW, "one PReLU twice")
class TwicePReLU(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        act = nn.PReLU()
        self.body = nn.Sequential(nn.Linear(5, 6), act, nn.Linear(6, 6), act, nn.Linear(6, CLASSES))
        self.act = act

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


@network(ROW, "tied parameters")
class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, CLASSES)
        self.two.weight = self.one.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.two(torch.tanh(self.one(x)))))


@network(IMAGE, "ReLU6 named relu")
class NamedRelu(Small):
    def __init__(self) -> None:
        super().__init__()
        self.relu = nn.ReLU6()

    def features(self, x: Tensor) -> Tensor:
        return self.relu(3 * self.norm(self.conv(3 * x)))


class _Odd(torch.autograd.Function):
    """x² whose written derivative is right, in parts that tracing sees through."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx, g):
        return 2 * g * ctx.saved_tensors[0]


class _Straight(torch.autograd.Function):
    """x² with the derivative of x: its Hessian is not symmetric."""

    @staticmethod
    def forward(ctx, x):
        return x * x

    @staticmethod
    def backward(ctx, g):
        return g


@network(IMAGE, "custom Function")
class Custom(Small):
    def features(self, x: Tensor) -> Tensor:
        return _Odd.apply(super().features(x))


@network(IMAGE, "custom Function with another derivative")
class Straight(Small):
    def features(self, x: Tensor) -> Tensor:
        return _Straight.apply(super().features(x))


@network(IMAGE, "no_grad block")
class Frozen(Small):
    def features(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            gate = torch.sigmoid(self.conv(x))
        return super().features(x) * gate


@network(IMAGE, "detached gate")
class Detached(Small):
    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        return y * torch.sigmoid(y.detach())


@network(IMAGE, "view behind a convolution")
class View(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.head(
            F.max_pool2d(self.features(x), 3).contiguous(memory_format=torch.preserve_format).view(len(x), -1)
        )


@network(IMAGE, "view of a convolution")
class Viewed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 2, 3), nn.Linear(32, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).view(len(x), -1))


@network(IMAGE, "state on self")
class Stateful(Small):
    def features(self, x: Tensor) -> Tensor:
        self.kept = super().features(x)
        y = torch.tanh(self.kept)
        return y + self.kept


@network(IMAGE, "state in a list")
class Listed(Small):
    def __init__(self) -> None:
        super().__init__()
        self.kept = []

    def features(self, x: Tensor) -> Tensor:
        self.kept.append(super().features(x))
        y = torch.tanh(self.kept[-1]) + self.kept[-1]
        self.kept.clear()
        return y


@network(IMAGE, "hooked features")
class Hooked(Small):
    def __init__(self) -> None:
        super().__init__()
        self.seen = {}
        self.norm.register_forward_hook(self.keep)

    def keep(self, module: nn.Module, arguments, output: Tensor) -> None:
        self.seen["norm"] = output

    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        return y + torch.tanh(self.seen["norm"])


@network(IMAGE, "hook that changes outputs")
class HookChanges(Small):
    def __init__(self) -> None:
        super().__init__()
        self.norm.register_forward_hook(lambda module, arguments, output: 1.5 * output)


@network(IMAGE, "a counter")
class Counter(Small):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def features(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().features(x)


@network(IMAGE, "drifting buffer")
class Drifting(Small):
    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("shift", torch.zeros(()))

    def features(self, x: Tensor) -> Tensor:
        self.shift += 0.1
        return super().features(x) + self.shift


@network(IMAGE, "random in eval")
class Random(Small):
    def features(self, x: Tensor) -> Tensor:
        return F.dropout(super().features(x), 0.5, training=True)


@network(IMAGE, "batch mixing")
class Mixing(Small):
    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        return y - y.mean(0, keepdim=True)


@network(IMAGE, "squeeze")
class Squeezing(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).squeeze()


@network(IMAGE, "tuple")
class Tuple(Small):
    def forward(self, x: Tensor):
        return super().forward(x), x


@network(IMAGE, "more logits than classes")
class Wide(Small):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 7)


@network(IMAGE, "fewer logits than classes")
class Narrow(Small):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(16, 2)


@network(IMAGE, "float32 inside")
class Single(Small):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.float())


@network(IMAGE, "float32 softmax inside")
class SingleSoftmax(Small):
    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        return y * torch.softmax(y.float(), 1).to(y.dtype)


@network(IMAGE, "stored tensor")
class Stored(Small):
    def __init__(self) -> None:
        super().__init__()
        self.mixing = torch.eye(4) + 0.1

    def features(self, x: Tensor) -> Tensor:
        return torch.einsum("oc,nchw->nohw", self.mixing, super().features(x))


@network(IMAGE, "stored graph")
class StoredGraph(Small):
    def __init__(self) -> None:
        super().__init__()
        self.last = self.conv.weight.square().sum()

    def features(self, x: Tensor) -> Tensor:
        self.last = super().features(x)
        return self.last


@network(IMAGE, "compiled")
def compiled() -> nn.Module:
    return torch.compile(Small(), backend="eager")


@network(IMAGE, "data parallel")
def parallel() -> nn.Module:
    return nn.DataParallel(Small())


@network(IMAGE, "unused norm")
class Unused(Small):
    def __init__(self) -> None:
        super().__init__()
        self.other = nn.BatchNorm2d(9)


@network(IMAGE, "branching")
class Branching(Small):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x if float(x.abs().sum()) > -1 else -x)


@network(IMAGE, "residual")
class Residual(Small):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.body_norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)

    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        return F.relu(y + self.body_norm(self.body(y)))


@network(IMAGE, "squeeze and excitation")
class Excited(Small):
    def __init__(self) -> None:
        super().__init__()
        self.gate = nn.Sequential(nn.Linear(4, 2), nn.ReLU(), nn.Linear(2, 4), nn.Hardsigmoid())

    def features(self, x: Tensor) -> Tensor:
        y = super().features(x)
        return y * self.gate(y.mean((2, 3)))[..., None, None]


@network(IMAGE, "cosine head")
class CosineHead(Small):
    def forward(self, x: Tensor) -> Tensor:
        features = F.max_pool2d(self.features(x), 3).flatten(1)
        return 4 * F.linear(F.normalize(features), F.normalize(self.head.weight))


@network(IMAGE, "frozen backbone")
class FrozenBackbone(Small):
    def __init__(self) -> None:
        super().__init__()
        self.conv.requires_grad_(False)
        self.norm.requires_grad_(False)


@network(IMAGE, "half")
def half() -> nn.Module:
    return Small().half()


@network(ROW, "two parameters")
class TwoParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.7, 0.3]))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x[:, :2] * self.scale, x[:, 2:3]], 1)


@network(ROW, "unused parameters")
class UnusedParameters(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.used, self.unused = nn.Linear(5, CLASSES), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.used(x)
