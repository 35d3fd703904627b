"""Recipes against the protocols that they cite, as read in papers and in the authors' code."""

import math
from pathlib import Path

import pytest
import torch

from training.config import Config
from training.methods.method import build_method
from training.methods.phases import plan_phases
from training.models import build_model
from training.recipe import FOLDER, load_recipe, recipe_names

CIFAR = {"data_kwargs": {"subset": "cao"}, "model": "resnet32", "model_kwargs": {"init": "cao"}, "imbalance": 100,
         "validation": 0, "batch_size": 128, "lr": 0.1, "weight_decay": 2e-4, "schedule": "step", "warmup": 5,
         "epochs": 200, "augment": "crop-flip"}  # fmt: skip
IMAGENET = {"model": "resnet50", "imbalance": "natural", "epochs": 90, "batch_size": 512, "lr": 0.2,
            "weight_decay": 5e-4, "schedule": "cosine", "warmup": 0, "augment": "jitter"}  # fmt: skip
INATURALIST = {**IMAGENET, "weight_decay": 1e-4, "augment": "crop-flip", "validation": 0}
FOCAL_CIFAR = {"schedule": "cosine", "warmup": 0, "batch_size": 64}

SOURCES = {
    # Cao et al., NeurIPS 2019: kaidic/LDAM-DRW, cifar_train.py
    "cifar10-lt/ce": CIFAR,
    "cifar10-lt/ldam-drw": CIFAR,
    "cifar100-lt/ldam-drw": CIFAR,
    # Rangwani et al., NeurIPS 2022: val-iisc/Saddle-LongTail, run.sh
    "cifar10-lt/ce+sam": {**CIFAR, "method_kwargs": {"rho": 0.1}},
    "cifar10-lt/ce-drw+sam": {**CIFAR, "method_kwargs": {"rho": 0.5}},
    "cifar10-lt/ldam-drw+sam": {**CIFAR, "method_kwargs": {"rho": 0.8}},
    "cifar100-lt/ce+sam": {**CIFAR, "method_kwargs": {"rho": 0.2}},
    "cifar100-lt/ce-drw+sam": {**CIFAR, "method_kwargs": {"rho": 0.8}},
    "cifar100-lt/ldam-drw+sam": {**CIFAR, "method_kwargs": {"rho": 0.8}},
    "imagenet-lt/ldam-drw+sam": {
        **IMAGENET, "batch_size": 256, "lr": 0.2, "weight_decay": 2e-4,
        "method_kwargs": {"max_margin": 0.3, "drw.start": 0.6666, "rho": [[0, 0.05], [0.0555, 0.1], [0.6666, 0.5]]},
    },
    # Li et al., ICML 2025: scongl/Focal-SAM, scripts/*.sh
    "cifar10-lt/la+focal-sam": {**CIFAR, **FOCAL_CIFAR, "weight_decay": 2e-4,
                                "method_kwargs": {"rho": 0.2, "focal-sam.gamma": 3.0, "strength": 0.5}},
    "cifar100-lt/la+focal-sam": {**CIFAR, **FOCAL_CIFAR, "weight_decay": 1e-3,
                                 "method_kwargs": {"rho": 0.3, "focal-sam.gamma": 3.2, "strength": 0.8}},
    "imagenet-lt/la+focal-sam": {
        **IMAGENET, "epochs": 200, "batch_size": 256, "lr": 0.1, "weight_decay": 5e-4,
        "method_kwargs": {"rho": [[0, 0.1], [0.8, 0.2]], "focal-sam.gamma": 0.8, "strength": 0.8},
    },
    "inaturalist-2018/la+focal-sam": {
        **INATURALIST, "epochs": 200, "batch_size": 512, "lr": 0.2, "weight_decay": 2e-4,
        "method_kwargs": {"rho": 0.2, "focal-sam.gamma": 2.0, "strength": 1.1},
    },
    # Kang et al., ICLR 2020: facebookresearch/classifier-balancing, config/
    "imagenet-lt/ce": IMAGENET,
    "inaturalist-2018/ce": INATURALIST,
    # Park et al., ICCV 2021: pseulki/IB-Loss, cifar_train.py
    "cifar10-lt/ib": {**CIFAR, "schedule": "step-ib", "method_kwargs": {"alpha": 1000}},
    "cifar100-lt/ib": {**CIFAR, "schedule": "step-ib", "method_kwargs": {"alpha": 1000}},
}  # fmt: skip


@pytest.mark.parametrize("name", SOURCES)
def test_a_recipe_is_its_source(name):
    recipe = load_recipe(name)
    assert {setting: recipe.get(setting) for setting in SOURCES[name]} == SOURCES[name]


@pytest.mark.parametrize(
    ("name", "epochs"),
    [("imagenet-lt/crt", (90, 10)), ("imagenet-lt/lws", (90, 5)), ("inaturalist-2018/crt", (90, 30)),
     ("inaturalist-2018/lws", (90, 5)), ("cifar10-lt/crt", (200, 22))],
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
