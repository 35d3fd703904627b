"""Networks of the published sizes whose forward pass is the classifier on the features."""

import sys
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from foundation.errors import InputError
from training.models import MODELS, build_model
from training.models.resnet import Block


def size(network):
    return sum(p.numel() for p in network.parameters())


PARAMETERS = {
    # of the papers' tables, or of torchvision's own networks
    "cnn": ({"in_channels": 1}, 53_362),
    "resnet20": ({}, 269_722),
    "resnet32": ({}, 464_154),
    "resnet44": ({}, 658_586),
    "resnet56": ({}, 853_018),
    "wide-resnet": ({"depth": 16, "widen": 4}, 2_748_890),
    "resnet18": ({"classes": 1000}, 11_689_512),
    "resnet34": ({"classes": 1000}, 21_797_672),
    "resnet50": ({"classes": 1000}, 25_557_032),
    "resnext50": ({"classes": 1000}, 25_028_904),
    "vit-small": ({"classes": 1000}, 22_050_664),
}


@pytest.mark.parametrize("name", MODELS)
def test_sizes(name):
    kwargs, parameters = PARAMETERS[name]
    assert size(build_model(name, **{"in_channels": 3, "classes": 10, **kwargs})) == parameters


SMALL = {"wide-resnet": {"depth": 10, "widen": 1}, "vit-small": {"size": 32, "patch": 16}, "resnet34": {"stem": "3x3"}}


@pytest.mark.parametrize("head", ["linear", "cosine"])
@pytest.mark.parametrize("name", MODELS)
def test_forward_is_the_classifier_on_the_features(name, head):
    torch.manual_seed(0)
    network = build_model(name, in_channels=2, classes=7, head=head, **SMALL.get(name, {})).eval()
    images = torch.randn(2, 2, 32, 32)
    features = network.features(images)
    assert features.ndim == 2 and network.classifier.weight.shape == (7, features.shape[1])
    assert torch.equal(network(images), network.classifier(features))


def test_a_small_stem_keeps_the_resolution():
    body = build_model("resnet18", classes=10, stem="3x3").body
    assert body.maxpool(body.conv1(torch.zeros(1, 3, 32, 32))).shape == (1, 64, 32, 32)
    with pytest.raises(InputError, match="'5x5'"):
        build_model("resnet18", stem="5x5")
    with pytest.raises(InputError, match="patches of 4 do not tile images of 30"):
        build_model("vit-small", size=30, patch=4)
    assert build_model("vit-small", size=30).body.patch_size == 2  # the largest that tiles them, unless one is given


def test_timm_by_name(monkeypatch):
    class Body(nn.Sequential):
        num_features = 12

    def create_model(name, num_classes, in_chans):
        if name != "tiny":
            raise RuntimeError(f"Unknown model ({name})")
        assert num_classes == 0
        return Body(nn.Flatten(), nn.LazyLinear(12))

    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match="pip install timm"):
        build_model("timm:tiny")
    monkeypatch.setitem(sys.modules, "timm", SimpleNamespace(create_model=create_model))
    assert build_model("timm:tiny", classes=5)(torch.randn(2, 3, 4, 4)).shape == (2, 5)
    with pytest.raises(InputError, match=r"cannot build 'huge'"):
        build_model("timm:huge")


def test_the_cosine_scale_is_in_the_inference_logits():
    torch.manual_seed(0)
    network = build_model("cnn", classes=5, head="cosine", scale=12.0).eval()
    images = torch.randn(6, 1, 8, 8)
    h, w = network.features(images), network.classifier.weight
    torch.testing.assert_close(network(images), 12 * torch.cosine_similarity(h[:, None], w[None], dim=2))


def test_a_cosine_classifier_survives_features_of_zero():
    head = build_model("cnn", classes=5, head="cosine").classifier
    features = torch.zeros(2, 96, requires_grad=True)
    head(features).sum().backward()
    assert torch.isfinite(features.grad).all() and torch.isfinite(head.weight.grad).all()


def test_the_cnn_without_normalization_and_with_gelu():
    network = build_model("cnn", activation="gelu", batch_norm=False, widths=(4, 8))
    kinds = [type(module) for module in network.body]
    assert kinds == [nn.Conv2d, nn.GELU, nn.MaxPool2d, nn.Conv2d, nn.GELU, type(network.body[-1])]
    assert not list(network.buffers())
    assert network(torch.randn(2, 1, 8, 8)).shape == (2, 10)


def test_the_option_a_shortcut_subsamples_and_pads_with_zero_channels():
    torch.manual_seed(0)
    block = Block(4, 8, stride=2).eval()
    x = torch.randn(2, 4, 6, 6)
    nn.init.zeros_(block.bn2.weight)  # leaves the shortcut alone
    out = block(x)
    assert torch.equal(out[:, 2:6], F.relu(x[:, :, ::2, ::2]))
    assert not out[:, :2].any() and not out[:, 6:].any()


def test_resnet32_has_31_convolutions_and_ends_at_a_quarter_of_the_size():
    network = build_model("resnet32", in_channels=3, classes=10)
    assert sum(isinstance(m, nn.Conv2d) for m in network.modules()) == 31
    assert network.body[:-1](torch.randn(1, 3, 32, 32)).shape == (1, 64, 8, 8)


def test_bad_names_and_options_are_refused():
    with pytest.raises(InputError, match=r"'brain'.*cnn"):
        build_model("brain")
    with pytest.raises(InputError, match="depthh"):
        build_model("cnn", depthh=3)
    with pytest.raises(InputError, match=r"'swish'.*relu"):
        build_model("cnn", activation="swish")
    with pytest.raises(InputError, match=r"'round'.*cosine"):
        build_model("cnn", head="round")


@pytest.mark.parametrize(
    ("name", "kwargs", "said"),
    [
        ("resnet32", {"depth": 33}, r"depth 33 .* 6n\+2"),
        ("resnet20", {"depth": 2}, r"depth 2 .* 6n\+2"),
        ("wide-resnet", {"depth": 27}, r"depth 27 .* 6n\+4"),
        ("wide-resnet", {"widen": 0}, "widen 0: give numbers above 0"),
        ("resnet32", {"width": 2.5}, "width 2.5: give whole numbers"),
        ("cnn", {"widths": []}, r"widths \[\]"),
        ("cnn", {"widths": [4, -8]}, r"widths \[4, -8\]"),
        ("vit-small", {"size": 30, "patch": 16}, "do not tile"),
    ],
)
def test_numbers_of_no_architecture_are_refused_and_not_rounded(name, kwargs, said):
    with pytest.raises(InputError, match=said):
        build_model(name, **kwargs)


def test_every_network_says_what_it_is():
    assert all(entry.about and entry.paper for entry in MODELS.values())
