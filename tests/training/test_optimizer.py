"""The base optimizer: its settings by network, its groups, its clipped steps, its averages."""

import math

import pytest
import torch
from torch import nn

from tests.training.methods.losses import references as ref
from tests.training.methods.losses.test_losses import COUNTS, batch
from tests.training.test_epochs import config
from training import train
from training.checkpoint import load_checkpoint
from training.config import Config, first_difference
from training.data import open_split
from training.methods.method import build_method
from training.methods.objective import TrainingProgress
from training.methods.optimizers.registry import build_stepper
from training.models import build_model
from training.optimizer import WarmingAverage, build_optimizer, optimization, resolved


def network():
    return build_model("vit-small", size=8, depth=1, width=16, heads=2, in_channels=1, classes=5)


def test_settings_left_open_suit_the_network(tmp_path):
    plain, transformer = Config(out=tmp_path), Config(out=tmp_path, model="vit-small", lr=2e-3)
    assert (optimization(plain).optimizer, optimization(plain).lr, optimization(plain).weight_decay) == (
        "sgd",
        0.4,
        5e-4,
    )
    assert (optimization(transformer).optimizer, optimization(transformer).lr) == ("adamw", 2e-3)
    assert optimization(Config(out=tmp_path, model="timm:vit_tiny_patch16_224")).decay == "weights"
    assert resolved(resolved(transformer)) == resolved(transformer) and resolved(transformer).clip == 1.0


def test_a_run_from_before_these_settings_is_still_the_same_run(tmp_path):
    new = resolved(Config(out=tmp_path)).plain()
    later = {"optimizer", "decay", "clip", "nesterov", "head_lr"}
    assert first_difference({name: value for name, value in new.items() if name not in later}, new) is None
    other = resolved(Config(out=tmp_path, optimizer="adamw")).plain()
    assert first_difference({name: value for name, value in new.items() if name not in later}, other) == "optimizer"


def test_norms_biases_and_embeddings_do_not_decay_and_the_head_has_its_own_rate(tmp_path):
    model = network()
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = build_optimizer(Config(out=tmp_path, model="vit-small", head_lr=10.0), model, fused=False)
    found = {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}
    assert found.keys() == set(names.values()) and type(optimizer) is torch.optim.AdamW
    for name, group in found.items():
        kernel = name.endswith("weight") and "ln" not in name
        assert group["weight_decay"] == (0.05 if kernel else 0.0), name
        assert group["lr_factor"] == (10.0 if name.startswith("classifier") else 1.0)


def test_without_special_wishes_there_is_one_group_in_the_networks_order(tmp_path):
    model = build_model("cnn")
    (group,) = build_optimizer(Config(out=tmp_path), model, fused=False).param_groups
    assert all(a is b for a, b in zip(group["params"], model.parameters(), strict=True))


def test_a_run_with_nesterov_a_faster_head_and_no_decay_of_norms_is_what_a_plain_loop_does(tmp_path):
    settings = {"precision": "float64", "epochs": 2, "batch_size": 90, "lr": 0.05, "nesterov": True, "head_lr": 3.0,
                "decay": "weights", "weight_decay": 1e-2, "clip": 0.5, "warmup": 0.0}  # fmt: skip
    run = train(config(tmp_path, **settings))
    checkpoint = load_checkpoint(run.checkpoint)
    torch.manual_seed(0)
    twin = build_model("cnn", **checkpoint.model["kwargs"]).double()
    velocity = {name: torch.zeros_like(p) for name, p in twin.named_parameters()}
    split = open_split(checkpoint.data, "train")
    pixels = split.pixels(torch.arange(len(split))).double() / 255
    images = (pixels - split.mean[0]) / split.std[0]
    steps = -(-len(split) // 90)
    for epoch in range(2):
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(epoch))
        for index, rows in enumerate(order.tensor_split(steps)):
            rate = 0.05 * (1 + math.cos(math.pi * (epoch + (index + 0.5) / steps) / 2)) / 2
            loss = nn.functional.cross_entropy(twin(images[rows]), split.labels[rows])
            gradients = torch.autograd.grad(loss, list(twin.parameters()))
            size = torch.cat([g.reshape(-1) for g in gradients]).norm()
            with torch.no_grad():
                for (name, p), g in zip(twin.named_parameters(), gradients, strict=True):
                    g = g * min(1.0, 0.5 / (float(size) + 1e-6)) + (1e-2 * p if p.ndim > 1 else 0)
                    velocity[name] = 0.9 * velocity[name] + g
                    p -= rate * (3.0 if name.startswith("classifier") else 1.0) * (g + 0.9 * velocity[name])
    for name, tensor in twin.state_dict().items():
        torch.testing.assert_close(checkpoint.state_dict[name], tensor, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("name", ["ce", "sam"])
@pytest.mark.parametrize("clip", [0.0, 0.01, 1e6])
def test_gradients_longer_than_the_clip_are_shortened_to_it(name, clip):
    torch.manual_seed(2)
    model = nn.Sequential(nn.Sequential(nn.Linear(6, 8), nn.Tanh()), nn.Linear(8, 4)).double()
    inputs, labels = torch.randn(5, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 3, 0])
    method = build_method(name, [9, 5, 3, 2])
    before = torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def losses(*objectives):
        yield (method.objective(ref.outputs_of(model, inputs), labels, **ref.MOMENT),)

    stepper = build_stepper(method, torch.optim.SGD(model.parameters(), 1.0), model, clip=clip)
    stepper.step(losses, progress=TrainingProgress(0.5, 5, 10))
    moved = float((torch.cat([p.detach().reshape(-1) for p in model.parameters()]) - before).norm())
    assert moved == pytest.approx(0.01, rel=1e-3) if clip == 0.01 else moved > 0.1


def test_averaged_weights_forget_the_start():
    """The decay after n updates is min(decay, (1 + n) / (10 + n)), here 1/10 … 0.5 of at most 0.5."""
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1)).double()
    average = WarmingAverage(model, 0.5)
    expected = None
    for n, value in enumerate([3.0, 1.0, 4.0, 1.0, 5.0, 9.0, 2.0, 6.0, 5.0, 3.0, 5.0]):
        nn.init.constant_(model[0].weight, value)
        model[1].num_batches_tracked += 1
        average.update_parameters(model)
        decay = min(0.5, (1 + n) / (10 + n))
        expected = value if expected is None else decay * expected + (1 - decay) * value
    assert average.module[0].weight.item() == pytest.approx(expected)
    assert average.module[1].num_batches_tracked == 11


@pytest.mark.parametrize("name", ["ce", "balanced-softmax", "la"])
def test_smoothed_labels_are_a_mixture_of_all_labels(name):
    outputs, labels = batch()
    everywhere = sum(ref.objective(name, COUNTS, outputs, torch.full_like(labels, c)) for c in range(5)) / 5
    expected = 0.9 * ref.objective(name, COUNTS, outputs, labels) + 0.1 * everywhere
    torch.testing.assert_close(ref.objective(name, COUNTS, outputs, labels, smoothing=0.1), expected)


def test_a_small_transformer_learns_with_its_own_settings(tmp_path):
    small = {"depth": 1, "width": 32, "heads": 2, "patch": 4}
    run = train(config(tmp_path, model="vit-small", model_kwargs=small, epochs=15, warmup=2.0, evaluate_every=20))
    checkpoint = load_checkpoint(run.checkpoint)
    assert run.config.optimizer == "adamw" and checkpoint.model["kwargs"]["size"] == 8
    assert run.rows[-1]["test"]["accuracy"]["balanced"] > 0.3  # chance is 0.1
