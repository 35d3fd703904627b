"""What follows the main training: frozen backbones, rescaled classifiers."""

import pytest
import torch
from torch import nn

from foundation.errors import InputError
from tests.training.test_epochs import config
from training import train
from training.checkpoint import load_checkpoint
from training.data import open_split
from training.methods.decoupling import adjust_post_hoc, begin, folded, tau_normalize
from training.models import build_model


def tiny(head="linear"):
    torch.manual_seed(0)
    return build_model("cnn", widths=[4, 8], classes=5, head=head).double().eval()


def images():
    return torch.randn(6, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_tau_normalization():
    network = tiny()
    weight, features = network.classifier.weight.detach().clone(), network.features(images())
    tau_normalize(network, tau=0.7)
    expected = torch.stack([features @ w / w.norm() ** 0.7 for w in weight], 1)
    torch.testing.assert_close(network(images()), expected)


def test_post_hoc_logit_adjustment():
    network, counts = tiny(), [50, 20, 5, 3, 2]
    before = network(images())
    adjust_post_hoc(network, counts, tau=1.5)
    expected = before - 1.5 * (torch.tensor(counts) / 80).double().log()
    torch.testing.assert_close(network(images()), expected)


def test_lws_trains_one_factor_a_class_and_folds_into_a_linear_classifier():
    network = tiny()
    before = network(images())
    begin(network, "lws")
    assert [name for name, p in network.named_parameters() if p.requires_grad] == ["classifier.scales"]
    torch.testing.assert_close(network(images()), before)
    with torch.no_grad():
        network.classifier.scales.copy_(torch.arange(1.0, 6.0))
    torch.testing.assert_close(network(images()), before * torch.arange(1.0, 6.0).double())
    again = tiny()
    again.load_state_dict(folded(network.state_dict()))
    torch.testing.assert_close(again(images()), network(images()))
    torch.testing.assert_close(again.classifier.weight, network.classifier.weight)


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_crt_trains_a_new_classifier(head):
    network = tiny(head)
    before = network.classifier.weight.detach().clone()
    begin(network, "crt")
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert trained == {f"classifier.{name}" for name, _ in network.classifier.named_parameters()}
    assert not torch.equal(network.classifier.weight, before)


def test_a_stage_can_go_on_with_the_classifier_at_a_lower_rate(tmp_path):
    network = tiny()
    before = network.classifier.weight.detach().clone()
    begin(network, "crt", anew=False)
    assert torch.equal(network.classifier.weight, before) and network.classifier.weight.requires_grad
    changes = {"method_kwargs": {"stage_share": 0.5}, "epochs": 2, "warmup": 0.0}
    run = train(config(tmp_path / "cc-sam", method="cc-sam", **changes))
    full = train(config(tmp_path / "crt", method="crt", **{**changes, "method_kwargs": {"share": 0.5}}))
    assert run.rows[-1]["lr"] == pytest.approx(0.1 * full.rows[-1]["lr"])


@pytest.mark.parametrize("change", [lambda n: begin(n, "lws"), lambda n: tau_normalize(n, tau=1.0),
                                    lambda n: adjust_post_hoc(n, [1] * 5, tau=1.0)])  # fmt: skip
def test_a_cosine_classifier_is_refused(change):
    with pytest.raises(InputError, match="needs a linear classifier"):
        change(tiny("cosine"))


@pytest.mark.parametrize("method", ["crt", "lws"])
def test_a_stage_moves_the_classifier_and_nothing_else(tmp_path, method):
    run = train(config(tmp_path, method=method, method_kwargs={"share": 0.5}, epochs=2, snapshots=3))
    assert [row["epoch"] for row in run.rows] == [1, 2, 3]
    before, after = (load_checkpoint(tmp_path / f"snapshots/epoch-000{k}.pt").state_dict for k in (2, 3))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed == {"classifier.weight", "classifier.bias"}
    if method == "lws":
        ratio = after["classifier.weight"] / before["classifier.weight"]
        torch.testing.assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("method", "setting"), [("tau-norm", {"tau": 1.0}), ("post-hoc-la", {"tau": 1.0})])
def test_a_stage_without_training_changes_the_last_checkpoint(tmp_path, method, setting):
    plain = train(config(tmp_path / "ce", epochs=2))
    run = train(config(tmp_path / "stage", method=method, method_kwargs=setting, epochs=2))
    before, after = load_checkpoint(plain.checkpoint), load_checkpoint(run.checkpoint)
    network = build_model(before.model["name"], **before.model["kwargs"])
    network.load_state_dict(before.state_dict)
    if method == "tau-norm":
        tau_normalize(network, **setting)
    else:
        adjust_post_hoc(network, plain.class_counts, **setting)
    for name, tensor in network.state_dict().items():
        torch.testing.assert_close(after.state_dict[name], tensor)
    test = open_split(after.data, "test")
    with torch.no_grad():
        right = (network.eval()(test.inputs(torch.arange(len(test)))).argmax(1) == test.labels).double().mean()
    assert after.metrics["test"]["accuracy"]["all"] == pytest.approx(float(right))


def test_the_frozen_backbone_keeps_its_running_statistics(tmp_path):
    run = train(config(tmp_path, method="crt", method_kwargs={"share": 1.0}, epochs=1, snapshots=2))
    before, after = (load_checkpoint(tmp_path / f"snapshots/epoch-000{k}.pt").state_dict for k in (1, 2))
    buffers = [name for name in before if "running" in name]
    assert buffers and all(torch.equal(before[name], after[name]) for name in buffers)
    assert isinstance(build_model("cnn", **load_checkpoint(run.checkpoint).model["kwargs"]).classifier, nn.Linear)
