"""The curvature of every subset of a subject, with the work that they can share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from foundation.declared import check_fields
from foundation.errors import InputError
from landscape.execution.checks import guarded
from landscape.execution.second_order import math_attention
from landscape.hessian.checks import check_symmetry
from landscape.hessian.estimators.exact_trace import SampleTraces, backward_passes
from landscape.hessian.estimators.lanczos import smallest_basis
from landscape.hessian.estimators.layerwise import layers
from landscape.hessian.estimators.per_sample import ProbeForms
from landscape.hessian.estimators.trace import probe
from landscape.hessian.measure_subset import SHARED_BYTES, measure_subset
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.result import HessianResult, HessianSettings, SubsetCurvature
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset


def check(settings: HessianSettings) -> None:
    """Refuses settings that nothing can be measured with.

    Args:
        settings: The settings.

    Raises:
        InputError: One is out of range.
    """
    at_least = {"top": 1, "bottom": 1, "probes": 2, "slq_vectors": 2, "max_products": 1, "seed": 0}
    for name, least in at_least.items():
        if getattr(settings, name) < least:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} {getattr(settings, name)} is too small: give {least} or more")
    if settings.seed >= 1 << 40:
        raise InputError(f"--seed {settings.seed} is too large: give a number below {1 << 40}")
    if not 0 <= settings.trace_rtol < 1:
        raise InputError(f"--trace-rtol {settings.trace_rtol:g} is no share: give a number such as 0.05, or 0")
    if not 0 < settings.tol < 1:
        raise InputError(f"--tol {settings.tol:g} is no relative residual: give a number such as 1e-3")
    check_fields(settings)


@guarded
def measure_hessian(
    subject: Subject,
    *,
    settings: HessianSettings | None = None,
    plan: Plan | None = None,
    initial_vectors: Mapping[str, Tensor] | None = None,
    done: Mapping[str, SubsetCurvature] | None = None,
    on_done: Callable[[SubsetCurvature], None] | None = None,
) -> HessianResult:
    """Measures the curvature of every subset.

    Classes come first. Every subset's loss is a mixture of class losses, so that products of random probes with
    the class Hessians, added up, are those of the groups, `all` and `balanced`; and a subset with the samples and
    weights of an earlier one (`subject.twin`) takes over its result.

    Args:
        subject: The network and the data to measure it on.
        settings: How much to measure.
        plan: How to compute products; by default chosen by timing a few.
        initial_vectors: (w, P) vectors close to a subset's top eigenvectors, by its name, such as those of a snapshot
            before.
        done: Curvatures known from an interrupted run, by subset name.
        on_done: Called with each curvature as soon as it is known.

    Returns:
        The curvatures.

    Raises:
        InputError: A setting is out of range, or memory does not reach for so many eigenvalues.
    """
    settings = settings or HessianSettings()
    check(settings)
    check_symmetry(subject)
    plan = plan or choose_plan(subject)
    _check_basis(subject, settings, plan)
    hessians, asked = HessianFactory(subject, plan), settings
    if backward_passes(subject):  # the trace takes no probes, and ‖H‖ few: they mostly leave 0.02 to 0.1 % open
        settings = replace(settings, probes=min(settings.probes, settings.slq_vectors))
    measured = dict(done or {})
    same = {s.name: (subject.twin(s) or s).name for s in subject.subsets}
    first = {same[name]: curvature for name, curvature in measured.items() if name in same}
    pool = _SharedProbes(subject, settings)
    forms = ProbeForms(hessians, settings.seed)
    scaled = ProbeForms(hessians, settings.seed, hessians.weight_sizes)
    traces = SampleTraces(hessians, seed=settings.seed, half_width=settings.trace_rtol)
    with math_attention(), hessians.workers.alone(subject.size):
        for subset in work_order(subject):
            twin = first.get(same[subset.name])
            if twin is None or pool.needs(subset, measured):
                hessian = hessians.of(subset)
                products = pool.products(subset, hessian)
                initial = (initial_vectors or {}).get(subset.name)
                twin = twin or measure_subset(
                    hessians,
                    subset,
                    hessian,
                    settings,
                    probe_products=products,
                    sample_traces=traces,
                    forms=forms,
                    scaled_forms=scaled,
                    initial_vectors=initial,
                )
            first.setdefault(same[subset.name], twin)
            if subset.name not in measured:
                measured[subset.name] = replace(twin, subset=subset.name)
                if on_done is not None:
                    on_done(measured[subset.name])
    return collect(subject, measured, asked, plan)


def _check_basis(subject: Subject, settings: HessianSettings, plan: Plan) -> None:
    needed = min(smallest_basis(settings.top, settings.bottom), subject.size)
    if plan.basis < needed:
        raise InputError(
            f"memory holds a basis of {plan.basis} vectors, of {needed} that --top {settings.top} and --bottom "
            f"{settings.bottom} need: ask for fewer eigenvalues, or give more --memory"
        )


def collect(
    subject: Subject, measured: Mapping[str, SubsetCurvature], settings: HessianSettings, plan: Plan
) -> HessianResult:
    """Curvatures by subset name as one result, in the subject's order."""
    curvatures = tuple(measured[subset.name] for subset in subject.subsets)
    return HessianResult(curvatures, tuple(subject.subsets), tuple(layers(subject)), settings, plan)


def work_order(subject: Subject) -> list[Subset]:
    """Classes first, head to tail, then what is made of them."""
    classes = [s for s in subject.subsets if s.kind == "class"]
    return classes + [s for s in subject.subsets if s.kind != "class"]


class _SharedProbes:
    """Products of random probes with every mixture of class losses, added up from those of its classes."""

    def __init__(self, subject: Subject, settings: HessianSettings) -> None:
        names = {s.classes[0] for s in subject.subsets if s.kind == "class"}
        like = subject.vector()
        self._shares: dict[str, dict[int, float]] = {}
        counts = torch.bincount(subject.labels, minlength=subject.classes).tolist()
        for subset in subject.subsets:
            present = [c for c in subset.classes if counts[c]]
            if subset.kind != "class" and names.issuperset(present):
                weights = torch.split(subject.weights(subset), [counts[c] for c in present])
                self._shares[subset.name] = {c: float(w.sum()) for c, w in zip(present, weights, strict=True)}
        if len(self._shares) * settings.probes * subject.size * 8 > SHARED_BYTES:
            self._shares.clear()  # each subset takes its own
        count = settings.probes if self._shares else 0
        self._probes = [probe(subject.size, settings.seed, i).to(like) for i in range(count)]
        self._sums = {
            name: [torch.zeros(subject.size, dtype=torch.float64, device=like.device) for _ in self._probes]
            for name in self._shares
        }

    def needs(self, subset: Subset, measured: Mapping[str, SubsetCurvature]) -> bool:
        """Whether an unmeasured mixture waits for this class."""
        waiting = [shares for name, shares in self._shares.items() if name not in measured]
        return subset.kind == "class" and any(subset.classes[0] in shares for shares in waiting)

    def products(self, subset: Subset, hessian: HessianOperator) -> Sequence[Tensor] | None:
        """The probes' products with this subset's Hessian, or None when it has to make them itself."""
        if subset.kind != "class":
            return self._sums.get(subset.name)
        if not self._shares:
            return None
        products = list(hessian.block(torch.stack(self._probes)))
        for name, shares in self._shares.items():
            for total, product in zip(self._sums[name], products, strict=True):
                total.add_(product, alpha=shares.get(subset.classes[0], 0.0))
        return products
