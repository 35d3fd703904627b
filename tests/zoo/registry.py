"""Small networks of every kind, each a classifier of three classes of a few hundred parameters."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional as F

Build = Callable[[], nn.Module]
IMAGE, ROW, SEQUENCE, TOKENS = "image", "row", "sequence", "tokens"
ZOO: dict[str, tuple[str, Build]] = {}
CLASSES = 3


def images(name: str, *layers: Callable[[], nn.Module], head: int) -> None:
    ZOO[name] = IMAGE, lambda: nn.Sequential(*(layer() for layer in layers), nn.Flatten(), nn.Linear(head, CLASSES))


def rows(name: str, *layers: Callable[[], nn.Module], width: int = 6) -> None:
    ZOO[name] = ROW, lambda: nn.Sequential(nn.Linear(5, 6), *(layer() for layer in layers), nn.Linear(width, CLASSES))


def network(kind: str, name: str) -> Callable[[type[nn.Module]], type[nn.Module]]:
    def keep(build: type[nn.Module]) -> type[nn.Module]:
        ZOO[name] = kind, build
        return build

    return keep


def conv(i: int = 1, o: int = 4, **options) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(i, o, **{"kernel_size": 3, "padding": 1, **options})


def old(wrap: Callable[..., nn.Module], module: nn.Module) -> nn.Module:
    """The hook-made form, which PyTorch calls deprecated."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return wrap(module)


class Small(nn.Module):
    """A convolution, a BatchNorm and a head, for the networks below."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Linear(16, CLASSES)

    def features(self, x: Tensor) -> Tensor:
        return F.relu(self.norm(self.conv(x)))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(F.max_pool2d(self.features(x), 3).flatten(1))
