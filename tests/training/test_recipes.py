"""Recipes against the protocols that they cite, as read in papers and in the authors' code."""

import math
from pathlib import Path

import pytest
import torch

from training.config import Config
from training.methods.method import build_method
from training.methods.phases import plan_phases
from training.models import build_model
from training.optimizer import resolved
from training.recipe import FOLDER, load_recipe, recipe_names

# Cao et al., NeurIPS 2019: kaidic/LDAM-DRW, cifar_train.py, imbalance_cifar.py, models/resnet_cifar.py
CIFAR = {"data_kwargs": {"subset": "cao"}, "model": "resnet32", "model_kwargs": {"init": "cao"}, "imbalance": 100,
         "validation": 0, "batch_size": 128, "lr": 0.1, "weight_decay": 2e-4, "schedule": "step", "warmup": 5,
         "epochs": 200, "augment": "crop-flip", "optimizer": "sgd", "momentum": 0.9, "nesterov": False, "decay": "all",
         "clip": 0.0, "ema": 0.0, "head_lr": 1.0}  # fmt: skip
# Kang et al., ICLR 2020: facebookresearch/classifier-balancing, config/ImageNet_LT and config/iNaturalist18
IMAGENET = {"model": "resnet50", "imbalance": None, "epochs": 90, "batch_size": 512, "lr": 0.2, "weight_decay": 5e-4,
            "schedule": "cosine", "warmup": 0, "augment": "jitter", "optimizer": "sgd", "momentum": 0.9,
            "nesterov": False, "decay": "all", "clip": 0.0}  # fmt: skip
INATURALIST = {**IMAGENET, "weight_decay": 1e-4, "augment": "crop-flip", "validation": 0}
COSINE_64 = {"schedule": "cosine", "warmup": 0, "batch_size": 64}

DRW = {"drw.beta": 0.9999, "drw.start": 0.8}  # from epoch 160 of 200
LDAM_DRW = {"ldam.max_margin": 0.5, "ldam.scale": 30, **DRW}
LARGE_LDAM_DRW = {**LDAM_DRW, "ldam.max_margin": 0.3}
LA = {"la.tau": 1, "la.smoothing": 0}
CE = {"ce.smoothing": 0}
PLAIN_SAM = {"sam.synchronized": False, "sam.update_bn": False}


def focal_sam(rho, gamma, strength):
    """Li et al., ICML 2025: scongl/Focal-SAM, scripts/*.sh."""
    own = {"rho": rho, "gamma": gamma, "strength": strength, "synchronized": False, "update_bn": False}
    return {**LA, **{f"focal-sam.{name}": value for name, value in own.items()}}


def of_both(name, protocol, settings):
    return {f"{folder}/{name}": ({**CIFAR, **protocol}, settings) for folder in ("cifar10-lt", "cifar100-lt")}


SOURCES = {
    **of_both("ce", {}, CE),
    **of_both("ldam-drw", {}, LDAM_DRW),
    **of_both("cb-drw", {}, {**CE, **DRW}),
    **of_both("focal", {}, {"focal.gamma": 1}),  # Lin et al., ICCV 2017, as Cao et al. run it
    **of_both("balanced-softmax", {}, {"balanced-softmax.smoothing": 0}),  # Ren et al., NeurIPS 2020
    **of_both("la", {}, LA),  # Menon et al., ICLR 2021
    **of_both("crt", {}, {**CE, "crt.share": 0.11}),  # Kang et al., ICLR 2020
    **of_both("tau-norm", {}, {**CE, "tau-norm.tau": 1}),
    **of_both("mixup", {}, {**CE, "mixup.alpha": 1}),  # Zhang et al., ICLR 2018
    **of_both("abc-norm", {}, {"abc-norm.share": 0.5, "abc-norm.exponent": 0.5}),  # Hsu et al., TIP 2023
    # Park et al., CVPR 2022: naver-ai/cmo
    **of_both("cmo", {}, {**CE, "cmo.probability": 0.5, "cmo.alpha": 1, "cmo.unmixed_epochs": 3}),
    # Park et al., ICCV 2021: pseulki/IB-Loss, cifar_train.py
    **of_both("ib", {"schedule": "step-ib"}, {"ib.alpha": 1000, "ib.start": 0.5}),
    # Zhou et al., ICCV 2023: cool-xuan/Imbalanced_SAM
    **of_both("imbsam", {}, {**CE, "imbsam.rho": 0.05, "imbsam.synchronized": False, "imbsam.update_bn": False}),
    # Lyu et al., AAAI 2025: Zemdalk/SSE-SAM, README.md
    **of_both("sse-sam", {**COSINE_64, "lr": 0.01, "weight_decay": 1e-3},
              {**CE, "sse-sam.rho_head": 0.05, "sse-sam.rho_tail": 0.1, "sse-sam.until": 0.7,
               "sse-sam.synchronized": False, "sse-sam.update_bn": False}),
    # Kini et al., NeurIPS 2021: orparask/VS-Loss, README.md
    "cifar10-lt/vs": (CIFAR, {"vs.gamma": 0.2, "vs.tau": 1.2}),
    "cifar100-lt/vs": (CIFAR, {"vs.gamma": 0.05, "vs.tau": 1}),
    # Zhou et al., CVPR 2023: zzpustc/CC-SAM, configs/Cifar10.json and Cifar100.json
    "cifar10-lt/cc-sam": ({**CIFAR, "batch_size": 64}, {
        **CE, "cc-sam.share": 0.3, "cc-sam.limit": 1, "cc-sam.stage_share": 0.15, "cc-sam.strength": 1,
        "cc-sam.feature_scale": 1, "mixup.alpha": 1}),
    "cifar100-lt/cc-sam": ({**CIFAR, "batch_size": 64}, {
        **CE, "cc-sam.share": 0.5, "cc-sam.limit": 0.3, "cc-sam.stage_share": 0.15, "cc-sam.strength": 1,
        "cc-sam.feature_scale": 1, "mixup.alpha": 1}),
    # Rangwani et al., NeurIPS 2022: val-iisc/Saddle-LongTail, run.sh
    "cifar10-lt/ce+sam": (CIFAR, {**CE, **PLAIN_SAM, "sam.rho": 0.1}),
    "cifar10-lt/ce-drw+sam": (CIFAR, {**CE, **DRW, **PLAIN_SAM, "sam.rho": 0.5}),
    "cifar10-lt/ldam-drw+sam": (CIFAR, {**LDAM_DRW, **PLAIN_SAM, "sam.rho": 0.8}),
    "cifar100-lt/ce+sam": (CIFAR, {**CE, **PLAIN_SAM, "sam.rho": 0.2}),
    "cifar100-lt/ce-drw+sam": (CIFAR, {**CE, **DRW, **PLAIN_SAM, "sam.rho": 0.8}),
    "cifar100-lt/ldam-drw+sam": (CIFAR, {**LDAM_DRW, **PLAIN_SAM, "sam.rho": 0.8}),
    "imagenet-lt/ldam-drw+sam": (
        {**IMAGENET, "batch_size": 256, "weight_decay": 2e-4},
        {**LARGE_LDAM_DRW, "drw.start": 0.6666, **PLAIN_SAM, "sam.rho": [[0, 0.05], [0.0555, 0.1], [0.6666, 0.5]]},
    ),
    "cifar10-lt/la+focal-sam": ({**CIFAR, **COSINE_64, "weight_decay": 2e-4}, focal_sam(0.2, 3, 0.5)),
    "cifar100-lt/la+focal-sam": ({**CIFAR, **COSINE_64, "weight_decay": 1e-3}, focal_sam(0.3, 3.2, 0.8)),
    "imagenet-lt/la+focal-sam": (
        {**IMAGENET, "epochs": 200, "batch_size": 256, "lr": 0.1}, focal_sam([[0, 0.1], [0.8, 0.2]], 0.8, 0.8)),
    "inaturalist-2018/la+focal-sam": (
        {**INATURALIST, "epochs": 200, "weight_decay": 2e-4}, focal_sam(0.2, 2, 1.1)),
    "imagenet-lt/ce": (IMAGENET, CE),
    "imagenet-lt/crt": (IMAGENET, {**CE, "crt.share": 0.11}),
    "imagenet-lt/lws": (IMAGENET, {**CE, "lws.share": 0.056}),
    "imagenet-lt/tau-norm": (IMAGENET, {**CE, "tau-norm.tau": 1}),
    "imagenet-lt/balanced-softmax": (IMAGENET, {"balanced-softmax.smoothing": 0}),
    "imagenet-lt/la": (IMAGENET, LA),
    "imagenet-lt/ldam-drw": (IMAGENET, LARGE_LDAM_DRW),
    "inaturalist-2018/ce": (INATURALIST, CE),
    "inaturalist-2018/crt": (INATURALIST, {**CE, "crt.share": 0.334}),
    "inaturalist-2018/lws": (INATURALIST, {**CE, "lws.share": 0.056}),
    "inaturalist-2018/tau-norm": (INATURALIST, {**CE, "tau-norm.tau": 1}),
    "inaturalist-2018/balanced-softmax": (INATURALIST, {"balanced-softmax.smoothing": 0}),
    "inaturalist-2018/la": (INATURALIST, LA),
    "inaturalist-2018/ldam-drw": (INATURALIST, LARGE_LDAM_DRW),
}  # fmt: skip
"""What a run does after all defaults are filled in: settings of the run, and every setting of its method's parts."""


def configuration(name):
    recipe = load_recipe(name)
    return resolved(Config(out=Path(), **{k: None if v == "natural" else v for k, v in recipe.items()}))


@pytest.mark.parametrize("name", SOURCES)
def test_a_recipe_is_its_source(name):
    config, (protocol, settings) = configuration(name), SOURCES[name]
    assert {setting: getattr(config, setting) for setting in protocol} == protocol
    assert build_method(config.method, [500, 50, 5], **config.method_kwargs).record["kwargs"] == settings


def test_every_published_recipe_stands_in_the_table():
    ours = {name for name in recipe_names() if name.startswith("fashion-mini") or name.endswith("+bgp")}
    assert set(SOURCES) == set(recipe_names()) - ours


@pytest.mark.parametrize("name", [name for name in recipe_names() if name.endswith("+bgp")])
def test_bgp_is_added_to_the_protocol_of_its_base(name):
    base, beside = configuration(name), configuration(name.removesuffix("+bgp"))
    assert base.plain() == {**beside.plain(), "method": f"{beside.method}+bgp"}


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("imagenet-lt/crt", (90, 10)), ("imagenet-lt/lws", (90, 5)), ("inaturalist-2018/crt", (90, 30)),
     ("inaturalist-2018/lws", (90, 5)), ("cifar10-lt/crt", (200, 22)), ("cifar10-lt/cc-sam", (200, 30))],
)  # fmt: skip
def test_later_stages_are_as_long_as_their_authors_have_them(name, epochs):
    recipe, counts = load_recipe(name), [500, 50, 5]
    method = build_method(recipe["method"], counts, **recipe.get("method_kwargs", {}))
    assert tuple(phase.epochs for phase in plan_phases(method, counts, epochs=recipe["epochs"])) == epochs


def test_class_weights_of_imagenet_lt_set_in_at_epoch_60_of_90():
    recipe = load_recipe("imagenet-lt/ldam-drw+sam")
    start = recipe["method_kwargs"]["drw.start"]
    assert next(epoch for epoch in range(90) if epoch >= start * recipe["epochs"]) == 60
    changes = [math.ceil(share * 90) for share, _ in recipe["method_kwargs"]["rho"]]
    assert changes == [0, 5, 60]


@pytest.mark.parametrize("name", recipe_names())
def test_every_published_recipe_names_its_source(name):
    recipe = load_recipe(name)
    build_method(recipe["method"], [500, 50, 5], **recipe.get("method_kwargs", {}))
    Config(out=Path(), **{k: v for k, v in recipe.items() if k != "imbalance"})
    if not name.startswith("fashion-mini") and any(part in recipe["method"] for part in ("sam", "ib", "crt", "lws")):
        assert (FOLDER / f"{name}.yaml").read_text().startswith("# "), name


def test_the_fields_first_weights():
    torch.manual_seed(0)
    linear = build_model("resnet32", classes=1000, init="cao").classifier
    assert linear.weight.std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.02)
    cosine = build_model("resnet32", classes=1000, init="cao", head="cosine").classifier
    torch.testing.assert_close(cosine.weight.norm(dim=1), torch.ones(1000))
