"""Tuning a given body by little: what is trained, that the network begins as it was, end to end."""

import pytest
import torch
from torch import nn

from foundation.errors import InputError
from tests.conftest import run_command
from tests.training.test_epochs import config
from training import train
from training.checkpoint import load_checkpoint
from training.models import build_model
from training.models.tuning import tune

VIT = {"size": 8, "patch": 2, "depth": 2, "width": 16, "heads": 2, "in_channels": 1, "classes": 10}


def pair(name, kind, **kwargs):
    torch.manual_seed(0)
    plain = build_model(name, **kwargs).eval()
    torch.manual_seed(0)
    return plain, build_model(name, tuned=kind, **kwargs).eval()


def free(network):
    return {name for name, parameter in network.named_parameters() if parameter.requires_grad}


@pytest.mark.parametrize("kind", ["lora", "adaptformer", "bias", "norm"])
def test_a_tuned_transformer_begins_as_it_was_and_trains_little(kind):
    plain, tuned = pair("vit-small", kind, **VIT)
    images = torch.randn(3, 1, 8, 8)
    torch.testing.assert_close(tuned(images), plain(images), rtol=1e-5, atol=1e-6)
    names = free(tuned)
    assert {"classifier.weight", "classifier.bias"} < names
    parts = {"lora": (".a", ".b"), "adaptformer": ("down.weight", "down.bias", "up.weight", "up.bias"),
             "bias": ("bias",), "norm": ("weight", "bias")}  # fmt: skip
    rest = {name for name in names if name.startswith("body.")}
    assert rest and all(name.endswith(parts[kind]) for name in rest)
    if kind == "norm":
        assert all("ln" in name for name in rest)


def test_lora_adds_a_product_of_its_rank_to_every_matrix():
    _, tuned = pair("vit-small", "lora", **VIT, rank=3)
    (layer,) = [m for n, m in tuned.named_modules() if n.endswith("encoder_layer_0.mlp.0")]
    lowrank = layer.parametrizations.weight[0]
    with torch.no_grad():
        nn.init.normal_(lowrank.b)
    added = layer.weight - layer.parametrizations.weight.original
    torch.testing.assert_close(added, lowrank.b @ lowrank.a)
    assert torch.linalg.matrix_rank(added) == 3
    attention = [m for m in tuned.modules() if isinstance(m, nn.MultiheadAttention)]
    assert all(hasattr(m, "parametrizations") for m in attention)


def test_lora_of_a_convolution_is_of_its_1x1_kernels():
    body = nn.Sequential(nn.Conv2d(3, 8, 1), nn.Conv2d(8, 4, 3), nn.Conv2d(4, 4, 1, groups=4))
    network = build_model("cnn", widths=[4])
    network.body = body
    tune(network, "lora")
    assert {name for name in free(network) if "body" in name} == {
        "body.0.parametrizations.weight.0.a", "body.0.parametrizations.weight.0.b"}  # fmt: skip


def test_the_bottleneck_is_lifts_by_default():
    network = build_model("vit-small", **{**VIT, "classes": 100}, tuned="adaptformer")
    (first, _) = [m for n, m in network.named_modules() if n.endswith(".down")]
    assert first.out_features == 16  # 2^⌊log₂(100 / (2 · 2))⌋


@pytest.mark.parametrize(
    ("kind", "said"), [("adaptformer", "nothing that adaptformer"), ("magic", "one of adaptformer")]
)
def test_what_cannot_be_tuned_is_one_sentence(kind, said):
    with pytest.raises(InputError, match=said):
        build_model("cnn", tuned=kind)


@pytest.mark.parametrize("kind", ["lora", "adaptformer"])
def test_a_given_body_is_tuned_end_to_end(tmp_path, kind):
    small = {name: VIT[name] for name in ("patch", "depth", "width", "heads")}
    given = train(config(tmp_path / "given", model="vit-small", model_kwargs=small, epochs=1))
    tuned = {**small, "tuned": kind, "head": "cosine", "scale": 25.0}
    run = train(config(tmp_path / kind, model="vit-small", model_kwargs=tuned, method="la", epochs=2, optimizer="sgd",
                       lr=0.01, weights=given.checkpoint))  # fmt: skip
    before, after = (load_checkpoint(r.checkpoint) for r in (given, run))
    network = build_model(after.model["name"], **after.model["kwargs"])
    network.load_state_dict(after.state_dict)
    trained = free(network)
    originals = {name.replace("parametrizations.", "").replace(".original", "").replace(".mlp.mlp", ".mlp"): tensor
                 for name, tensor in after.state_dict.items() if name not in trained}  # fmt: skip
    assert len(originals) > 10
    for name, tensor in originals.items():
        torch.testing.assert_close(tensor, before.state_dict[name], msg=name)
    assert run.rows[-1]["objective"] < run.rows[0]["objective"]


@pytest.mark.exhaustive
def test_a_tuned_convolutional_network_is_measured_like_any(tmp_path):
    small = {"data": "digits", "model": "wide-resnet", "epochs": 1, "evaluate_every": 9, "snapshots": 0}
    given = train(config(tmp_path / "given", **{**small, "model_kwargs": {"depth": 10, "widen": 1}}))
    tuned = {"depth": 10, "widen": 1, "tuned": "lora", "rank": 2, "head": "cosine", "scale": 25.0}
    run = train(config(tmp_path / "lora", **{**small, "model_kwargs": tuned}, method="la", weights=given.checkpoint))
    flags = ("--split", "test", "--subsets", "class:1", "--top", 1, "--tol", 0.05, "--device", "cpu", "--no-intervals")
    ended = run_command("landscape.hessian", "--ckpt", run.checkpoint, *flags)
    assert "verdict" in ended.stdout and (tmp_path / "lora" / "landscape.h5").is_file()


def test_weights_of_another_network_are_one_sentence(tmp_path):
    path = tmp_path / "other.pt"
    torch.save(build_model("cnn", widths=[3]).state_dict(), path)
    with pytest.raises(InputError, match=r"are of another network .*--model"):
        train(config(tmp_path / "run", weights=path))
    torch.save([1, 2], path)
    with pytest.raises(InputError, match="hold no state dict"):
        train(config(tmp_path / "run", weights=path))
    with pytest.raises(InputError, match="does not exist"):
        train(config(tmp_path / "run", weights=tmp_path / "none.pt"))
    assert not (tmp_path / "run").exists()
