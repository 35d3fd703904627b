"""Networks of torchvision and timm with this project's classifiers."""

from __future__ import annotations

import importlib
from typing import Any

from torch import nn

from foundation.errors import InputError, one_of
from training.models.network import Network

STEMS = ("7x7", "3x3")


def torchvision_resnet(
    *, architecture: str, in_channels: int = 3, classes: int = 1000, stem: str = "7x7", **head: Any
) -> Network:
    """A ResNet of torchvision, freshly initialized.

    Args:
        architecture: Its name in `torchvision.models`.
        in_channels: Channels of the images.
        classes: C.
        stem: `"7x7"` with max-pooling for large images, `"3x3"` without for images of 32×32.
        **head: `head` and `scale` of the classifier.

    Returns:
        The network.

    Raises:
        InputError: The stem is unknown.
    """
    from torchvision import models

    if stem not in STEMS:
        raise one_of("stem", stem, STEMS)
    body = getattr(models, architecture)(num_classes=1)
    features = body.fc.in_features
    body.fc = nn.Identity()
    if stem == "3x3":
        body.conv1 = nn.Conv2d(in_channels, 64, 3, padding=1, bias=False)
        body.maxpool = nn.Identity()
    elif in_channels != 3:
        body.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
    nn.init.kaiming_normal_(body.conv1.weight, mode="fan_out", nonlinearity="relu")
    return Network(body, features, classes, **head)


def vit_small(
    *,
    size: int = 224,
    patch: int | None = None,
    depth: int = 12,
    heads: int = 6,
    width: int = 384,
    in_channels: int = 3,
    classes: int = 1000,
    **head: Any,
) -> Network:
    """ViT-S: 12 layers, 6 heads, width 384 (Touvron et al., DeiT, ICML 2021).

    Args:
        size: Pixels of the square images.
        patch: Pixels of a token's side; None for the largest of 16, 8, 7, 4 and 2 that tiles the image into 49 or more.
        depth: Layers.
        heads: Attention heads, which divide the width.
        width: Numbers of a token; the layers between are four times as wide.
        in_channels: Channels of the images.
        classes: C.
        **head: `head` and `scale` of the classifier.

    Returns:
        The network.

    Raises:
        InputError: Patches do not tile the image, or heads do not divide the width.
    """
    from torchvision.models import VisionTransformer

    if patch is None:
        patch = next((p for p in (16, 8, 7, 4, 2) if size % p == 0 and size // p >= 7), 1)
    if width % heads:
        raise InputError(f"{heads} heads do not divide a width of {width}: choose heads that do")
    if size % patch:
        raise InputError(f"patches of {patch} do not tile images of {size}: choose a patch that divides the size")
    body = VisionTransformer(
        image_size=size,
        patch_size=patch,
        num_layers=depth,
        num_heads=heads,
        hidden_dim=width,
        mlp_dim=4 * width,
        num_classes=1,
    )
    body.heads = nn.Identity()
    if in_channels != 3:
        body.conv_proj = nn.Conv2d(in_channels, width, patch, stride=patch)
    return Network(body, width, classes, **head)


def timm_size(name: str, size: int) -> dict[str, int]:
    """The image size as timm's networks take it, for those that are made for one.

    Args:
        name: The network's name there.
        size: Pixels of a side.

    Returns:
        `img_size`, or nothing for networks that take any image, and where timm is not installed.
    """
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        return {}  # building says so
    known = timm.get_pretrained_cfg(name, allow_unregistered=True)
    return {"img_size": size} if known is not None and known.fixed_input_size else {}


def from_timm(
    name: str, *, in_channels: int = 3, classes: int = 1000, head: str = "linear", scale: float = 30.0, **kwargs: Any
) -> Network:
    """A network of timm, freshly initialized.

    Args:
        name: Its name there.
        in_channels: Channels of the images.
        classes: C.
        head: `"linear"` or `"cosine"`.
        scale: s of the cosine classifier.
        **kwargs: timm's own options, such as `img_size`.

    Returns:
        The network.

    Raises:
        InputError: timm is not installed, has no such network, or its patches do not tile the images.
    """
    try:
        timm = importlib.import_module("timm")
    except ImportError:
        raise InputError(f"network 'timm:{name}' needs timm, which is not installed: pip install timm") from None
    try:
        body = timm.create_model(name, num_classes=0, in_chans=in_channels, **kwargs)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"timm cannot build {name!r} ({error}): see timm.list_models()") from None
    _check_patches(name, body)
    return Network(body, body.num_features, classes, head=head, scale=scale)


def _check_patches(name: str, body: nn.Module) -> None:
    """Refuses patches that do not tile the image: timm drops the rest, two thirds of 28 × 28 in patches of 16."""
    embedding = getattr(body, "patch_embed", None)
    sizes, patches = getattr(embedding, "img_size", None), getattr(embedding, "patch_size", None)
    if sizes is None or patches is None:
        return
    if any(size % patch for size, patch in zip(sizes, patches, strict=True)):
        raise InputError(
            f"patches of {patches[0]} do not tile images of {sizes[0]} in timm:{name}: give a patch_size that does "
            "by --model-kwargs"
        )
