"""Every part a method can be put together from, by name, with its settings and where it comes from."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from training.methods.losses import (
    abc_norm,
    bgp,
    brier,
    cc_sam,
    class_weights,
    cross_entropy,
    focal,
    influence_balanced,
    ldam,
    logit_adjustment,
)
from training.methods.objective import BatchTerm, SampleTerm
from training.methods.parts import Loss, Mixing, Perturbation, Sampling, Stage, Transform, Weights
from training.registry import Entry

Piece = Loss | Weights | SampleTerm | BatchTerm | Perturbation | Mixing | Sampling | Stage | Transform


Maker = Callable[..., Piece]  # `maker(class_counts, **settings)`


def _made_by(make: Maker, about: str, paper: str) -> Entry[Maker]:
    """A part whose settings are the keyword-only arguments of the function that makes it."""
    parameters = inspect.signature(make).parameters.values()
    return Entry(make, about, paper, {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY})


def _perturbing(name: str, about: str, paper: str, **defaults: Any) -> Entry[Maker]:
    """A perturbing optimizer with its own settings and those that all of them share."""

    def make(class_counts: Sequence[int], **settings: Any) -> Perturbation:
        return Perturbation(name, settings)

    return Entry(make, about, paper, {**defaults, "synchronized": False, "update_bn": False})


def _sampling(name: str, about: str) -> Entry[Maker]:
    return _made_by(lambda class_counts: Sampling(name), about, "Kang et al., ICLR 2020")


def _mixup(class_counts: Sequence[int], *, alpha: float = 1.0) -> Mixing:
    """λ ~ Beta(α, α); 1 on CIFAR, 0.2 on large sets."""
    return Mixing("mixup", {"alpha": alpha})


def _cmo(
    class_counts: Sequence[int], *, probability: float = 0.5, alpha: float = 1.0, unmixed_epochs: int = 3
) -> Mixing:
    """CutMix whose pasted patch comes from a 1/n_c sampler, off in the first and last `unmixed_epochs`."""
    return Mixing("cmo", {"probability": probability, "alpha": alpha, "unmixed_epochs": unmixed_epochs})


def _crt(class_counts: Sequence[int], *, share: float = 0.11) -> Stage:
    """10 epochs after 90, as the authors do on ImageNet-LT."""
    return Stage("crt", share, "class-balanced", "ce")


def _lws(class_counts: Sequence[int], *, share: float = 0.11) -> Stage:
    return Stage("lws", share, "class-balanced", "ce")


def _tau_norm(class_counts: Sequence[int], *, tau: float = 1.0) -> Stage:
    return Stage("tau-norm", 0.0, None, "ce", {"tau": tau})


def _post_hoc_la(class_counts: Sequence[int], *, tau: float = 1.0) -> Stage:
    return Stage("post-hoc-la", 0.0, None, "ce", {"tau": tau})


LOSSES = {
    "ce": _made_by(cross_entropy.ce, "cross-entropy", "-"),
    "focal": _made_by(focal.focal, "focal loss", "Lin et al., ICCV 2017"),
    "ldam": _made_by(ldam.ldam, "larger margins for rarer classes, cosine head", "Cao et al., NeurIPS 2019"),
    "balanced-softmax": _made_by(logit_adjustment.balanced_softmax, "CE of z + log n", "Ren et al., NeurIPS 2020"),
    "la": _made_by(logit_adjustment.la, "logit adjustment, CE of z + τ log π", "Menon et al., ICLR 2021"),
    "vs": _made_by(logit_adjustment.vs, "vector scaling, CE of z / Δ + τ log π", "Kini et al., NeurIPS 2021"),
    "ib": _made_by(influence_balanced.ib, "influence-balanced loss", "Park et al., ICCV 2021"),
    "abc-norm": _made_by(abc_norm.abc_norm, "penalty on confidence in frequent classes", "Hsu et al., TIP 2023"),
    "cc-sam-classifier": _made_by(cc_sam.cc_sam_classifier, "the second stage of cc-sam", "Zhou et al., CVPR 2023"),
}
WEIGHTS = {
    "cb": _made_by(class_weights.cb, "class-balanced weights", "Cui et al., CVPR 2019"),
    "drw": _made_by(class_weights.drw, "class-balanced weights late in training", "Cao et al., NeurIPS 2019"),
}
PENALTIES = {
    "bgp": _made_by(bgp.bgp, f"balanced gradient penalty: {bgp.NOTE}", "Wang et al., ACM MM 2022"),
    "unbalanced-penalty": _made_by(brier.unbalanced_penalty, "BGP's penalty without its balance", "ablation of BGP"),
    "bgp-as-weights": _made_by(brier.bgp_as_weights, "what of BGP re-weights cross-entropy", "control of BGP"),
    "bgp-orthogonal": _made_by(brier.bgp_orthogonal, "what of BGP does not", "control of BGP"),
    "trace": _made_by(brier.trace, "class-balanced 1 - ‖p‖², flat without fit", "control of BGP"),
    "batch-balanced-ce": _made_by(cross_entropy.batch_balanced_ce, "plus the batch's class-mean CE", "ablation of BGP"),
    "mae": _made_by(cross_entropy.mae, "plus mean absolute error", "Ghosh et al., AAAI 2017"),
}
OPTIMIZERS = {
    "sam": _perturbing("sam", "sharpness-aware minimization", "Foret et al., ICLR 2021", rho=0.05),
    "asam": _perturbing("asam", "SAM in units of the weights", "Kwon et al., ICML 2021", rho=0.5, eta=0.01),
    "gsam": _perturbing(
        "gsam", "SAM that closes the surrogate gap", "Zhuang et al., ICLR 2022", rho=0.05, rho_min=0.0, alpha=0.4
    ),
    "gnp": _perturbing("gnp", "gradient-norm penalty", "Zhao et al., ICML 2022", radius=0.1, alpha=0.8),
    "imbsam": _perturbing("imbsam", "SAM for the few-shot classes alone", "Zhou et al., ICCV 2023", rho=0.05),
    "focal-sam": _perturbing(
        "focal-sam", "SAM that favors rare classes", "Li et al., ICML 2025", rho=0.2, gamma=3.0, strength=0.5
    ),
    "sse-sam": _perturbing(
        "sse-sam",
        "SAM with radii for head and tail, the head's until late",
        "Lyu et al., AAAI 2025",
        rho_head=0.05,
        rho_tail=0.1,
        until=0.7,
    ),
    "gnm": _perturbing(
        "gnm", "steps from random nearby points", "Li et al., NeurIPS 2024", rho=0.05, magnitude=0.1, halving=0.843
    ),
    "cc-sam": _made_by(cc_sam.cc_sam, "SAM with a radius for each class, two stages", "Zhou et al., CVPR 2023"),
}
DATA = {
    "mixup": _made_by(_mixup, "mixed images and labels", "Zhang et al., ICLR 2018"),
    "cmo": _made_by(_cmo, "patches of rare images pasted into frequent ones", "Park et al., CVPR 2022"),
    "balanced-sampling": _sampling("class-balanced", "every class drawn alike"),
    "sqrt-sampling": _sampling("square-root", "classes drawn by √n"),
    "progressive-sampling": _sampling("progressive", "classes drawn by n at first, alike at last"),
}
STAGES = {
    "crt": _made_by(_crt, "classifier trained anew on balanced samples", "Kang et al., ICLR 2020"),
    "lws": _made_by(_lws, "one learned scale a class", "Kang et al., ICLR 2020"),
    "tau-norm": _made_by(_tau_norm, "class weights over ‖w‖^τ", "Kang et al., ICLR 2020"),
    "post-hoc-la": _made_by(_post_hoc_la, "logits minus τ log π after training", "Menon et al., ICLR 2021"),
}
KINDS: dict[str, dict[str, Entry[Maker]]] = {
    "losses": LOSSES,
    "class weights": WEIGHTS,
    "penalties": PENALTIES,
    "perturbing optimizers": OPTIMIZERS,
    "samplers and mixing": DATA,
    "later stages": STAGES,
}
"""Every part by what it is."""

PARTS: dict[str, Entry[Maker]] = {name: part for kind in KINDS.values() for name, part in kind.items()}
"""Every part by its name."""

SHORTHANDS = {"ce-mae": "ce+mae", "cb-ce": "ce+cb", "cb-focal": "focal+cb"}
"""Usual names that stand for a sum of parts."""

FORMER_SETTINGS = {"synchronised": "synchronized", "calm": "unmixed_epochs", "reach": "feature_scale"}
"""Settings by the names that version-1 checkpoints and recipes knew them by."""
