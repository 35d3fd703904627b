"""The networks by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from foundation.errors import InputError, one_of
from training.models.cnn import cnn
from training.models.library import from_timm, timm_size, torchvision_resnet, vit_small
from training.models.network import Network
from training.models.resnet import cifar_resnet
from training.models.tuning import tune
from training.models.wide import wide_resnet
from training.registry import Entry

Builder = Callable[..., Network]  # `builder(in_channels=…, classes=…, **kwargs)`
HE = "He et al., CVPR 2016"


def _cifar_resnet(depth: int, size: str) -> Entry[Builder]:
    return Entry(partial(cifar_resnet, depth=depth), f"CIFAR ResNet, option-A shortcuts, {size} parameters", HE)


def _torchvision(architecture: str, about: str, paper: str = HE) -> Entry[Builder]:
    return Entry(partial(torchvision_resnet, architecture=architecture), about, paper)


MODELS: dict[str, Entry[Builder]] = {
    "cnn": Entry(cnn, "three conv–BN–ReLU blocks, 53 k parameters", "this project"),
    "resnet20": _cifar_resnet(20, "0.27 M"),
    "resnet32": _cifar_resnet(32, "0.46 M"),
    "resnet44": _cifar_resnet(44, "0.66 M"),
    "resnet56": _cifar_resnet(56, "0.85 M"),
    "wide-resnet": Entry(wide_resnet, "WRN-28-10 or other depth and widen", "Zagoruyko & Komodakis, BMVC 2016"),
    "resnet18": _torchvision("resnet18", "torchvision's; stem=3x3 for small images"),
    "resnet34": _torchvision("resnet34", "torchvision's; stem=3x3 for small images"),
    "resnet50": _torchvision("resnet50", "torchvision's, for ImageNet-LT and iNaturalist"),
    "resnext50": _torchvision("resnext50_32x4d", "torchvision's ResNeXt-50 32×4d", "Xie et al., CVPR 2017"),
    "vit-small": Entry(vit_small, "ViT-S/16", "Touvron et al., ICML 2021"),
}
TIMM = "timm:"
WHOLE = frozenset({"classes", "depth", "in_channels", "patch", "size", "widen", "width", "widths"})


CONVOLUTIONAL = {"optimizer": "sgd", "lr": 0.4, "weight_decay": 5e-4, "decay": "all", "clip": 0.0, "warmup": 1.0}
TRANSFORMER = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.05, "decay": "weights", "clip": 1.0, "warmup": 5.0}
TRANSFORMERS = (
    *("vit", "deit", "swin", "beit", "eva", "cait", "xcit", "former", "hiera", "coat", "twins", "volo", "pvt", "pit_"),
    *("tnt", "nest_", "aimv2", "focalnet", "sequencer", "convnext", "edgenext", "mixer", "resmlp", "gmlp"),
)
"""What the names of timm's networks that are trained as transformers hold."""


def training_defaults(name: str) -> dict[str, Any]:
    """How a network is trained when nothing is said.

    Convolutional networks by SGD at the rates of docs/defaults.md, transformers by AdamW as DeiT is (Touvron et al.,
    ICML 2021: decay 0.05, five epochs of warm-up; its rate of 5e-4 is for batches of 512 and long training).

    Args:
        name: The network.

    Returns:
        `optimizer`, `lr`, `weight_decay`, `decay`, `clip` and `warmup`.
    """
    plain = name.removeprefix(TIMM).lower()
    return dict(TRANSFORMER if any(kind in plain for kind in TRANSFORMERS) else CONVOLUTIONAL)


def size_options(name: str, size: int) -> dict[str, int]:
    """What a network has to be told of the images' size: nothing, unless it is made for one.

    Args:
        name: The network.
        size: Pixels of a side.

    Returns:
        Options for `build_model`.
    """
    if name == "vit-small":
        return {"size": size}
    return timm_size(name.removeprefix(TIMM), size) if name.startswith(TIMM) else {}


def build_model(name: str, *, tuned: str | None = None, rank: int | None = None, **kwargs: Any) -> Network:
    """Builds a network.

    Args:
        name: A key of `MODELS`, or `timm:NAME` where timm is installed.
        tuned: What of the body is trained, see `training.models.tuning`; None for all.
        rank: Of the tuning.
        **kwargs: `in_channels`, `classes`, `head` and the network's own options.

    Returns:
        The network, freshly initialized from the global generator.

    Raises:
        InputError: The name or an option is unknown, or a number is no architecture's.
    """
    if name not in MODELS and not name.startswith(TIMM):
        raise one_of("network", name, [*MODELS, f"{TIMM}NAME"])
    build = MODELS[name].value if name in MODELS else partial(from_timm, name.removeprefix(TIMM))
    for option, value in kwargs.items():
        numbers = value if isinstance(value, list | tuple) else [value]
        if value == [] or any(isinstance(n, int | float) and not isinstance(n, bool) and not n > 0 for n in numbers):
            raise InputError(f"network {name!r} cannot have {option} {value!r}: give numbers above 0")
        if option in WHOLE and any(not isinstance(number, int) for number in numbers if number is not None):
            raise InputError(f"network {name!r} cannot have {option} {value!r}: give whole numbers")
    try:
        network = build(**kwargs)
    except TypeError as error:
        raise InputError(f"network {name!r} cannot be built ({error}): check its options") from None
    if tuned is not None:
        tune(network, tuned, rank=rank)
    return network
