"""The curvature of every subset of a subject, with the work that they can share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from foundation.errors import InputError, one_of
from landscape.hessian.estimators.exact_trace import backward_passes
from landscape.hessian.estimators.trace import probe
from landscape.hessian.measure_subset import measure_subset
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.hvp import HessianOperator
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.pyhessian import measure_by_pyhessian
from landscape.hessian.result import HessianSettings, SubsetCurvature
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

ENGINES = {"krylov": measure_subset, "pyhessian": measure_by_pyhessian}
SHARED_BYTES = 1 << 30
"""Most memory for products of the shared probes; beyond it each subset takes its own."""


@dataclass(frozen=True)
class HessianResult:
    """The curvature of every subset of a subject.

    Attributes:
        curvatures: One a subset, in the subject's order.
        settings: How much was asked.
        plan: How products were computed.
    """

    curvatures: tuple[SubsetCurvature, ...]
    settings: HessianSettings
    plan: Plan

    def of(self, name: str) -> SubsetCurvature:
        """The curvature of the subset called `name`."""
        return next(c for c in self.curvatures if c.subset == name)


def check(settings: HessianSettings) -> None:
    """Refuses settings that nothing can be measured with.

    Args:
        settings: The settings.

    Raises:
        InputError: One is out of range.
    """
    for name, least in (("top", 1), ("bottom", 1), ("probes", 2), ("chains", 2), ("max_products", 1), ("seed", 0)):
        if getattr(settings, name) < least:
            option = f"--{name.replace('_', '-')}"
            raise InputError(f"{option} {getattr(settings, name)} is too small: give {least} or more")
    if settings.seed >= 1 << 40:
        raise InputError(f"--seed {settings.seed} is too large: give a number below {1 << 40}")
    if settings.engine not in ENGINES:
        raise one_of("engine", settings.engine, ENGINES)
    for option in ("layers", "gauss_newton"):
        if settings.engine == "pyhessian" and getattr(settings, option):
            option = f"--{option.replace('_', '-')}"
            raise InputError(f"--engine pyhessian knows no {option}: leave {option} out")
    if not 0 <= settings.trace_width < 1:
        raise InputError(f"--trace-width {settings.trace_width:g} is no share: give a number such as 0.05, or 0")
    if not 0 < settings.tol < 1:
        raise InputError(f"--tol {settings.tol:g} is no relative residual: give a number such as 1e-3")


def measure_hessian(
    subject: Subject,
    *,
    settings: HessianSettings | None = None,
    plan: Plan | None = None,
    warm: Mapping[str, Tensor] | None = None,
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
        warm: (w, P) vectors close to a subset's top eigenvectors, by its name, such as those of a snapshot before.
        done: Curvatures known from an interrupted run, by subset name.
        on_done: Called with each curvature as soon as it is known.

    Returns:
        The curvatures.

    Raises:
        InputError: A setting is out of range.
    """
    settings = settings or HessianSettings()
    check(settings)
    plan = plan or choose_plan(subject)
    hessians, asked = HessianFactory(subject, plan), settings
    if settings.engine == "krylov" and backward_passes(subject):  # the trace takes no probes, and ‖H‖ few: they leave
        settings = replace(settings, probes=min(settings.probes, settings.chains))  # 0.1 % of it open
    found = dict(done or {})
    same = {s.name: (subject.twin(s) or s).name for s in subject.subsets}
    pool = _SharedProbes(subject, settings)
    with hessians.workers.alone(subject.size):
        for subset in work_order(subject):
            twin = next((c for name, c in found.items() if same[name] == same[subset.name]), None)
            if twin is None or pool.needs(subset, found):
                hessian = hessians.of(subset)
                probed = pool.products(subset, hessian)
                close = (warm or {}).get(subset.name)
                twin = twin or ENGINES[settings.engine](hessians, subset, hessian, settings, probed=probed, warm=close)
            if subset.name not in found:
                found[subset.name] = replace(twin, subset=subset.name)
                if on_done is not None:
                    on_done(found[subset.name])
    return HessianResult(tuple(found[subset.name] for subset in subject.subsets), asked, plan)


def work_order(subject: Subject) -> list[Subset]:
    """Classes first, head to tail, then what is made of them."""
    classes = [s for s in subject.subsets if s.kind == "class"]
    return classes + [s for s in subject.subsets if s.kind != "class"]


class _SharedProbes:
    """Products of random probes with every mixture of class losses, added up from those of its classes."""

    def __init__(self, subject: Subject, settings: HessianSettings) -> None:
        names = {s.classes[0] for s in subject.subsets if s.kind == "class"}
        like = subject.vector()
        self._probes = [probe(subject.size, settings.seed, i).to(like) for i in range(settings.probes)]
        self._shares: dict[str, dict[int, float]] = {}
        for subset in subject.subsets:
            present = {c for c in subset.classes if c in set(subject.labels.tolist())}
            if subset.kind != "class" and present <= names:
                labels = subject.labels[subject.rows(subset)]
                weights = subject.weights(subset)
                self._shares[subset.name] = {c: float(weights[labels == c].sum()) for c in present}
        needed = len(self._shares) * len(self._probes) * subject.size * 8
        if needed > SHARED_BYTES or settings.engine != "krylov":
            self._shares.clear()
        self._sums = {
            name: [torch.zeros(subject.size, dtype=torch.float64, device=like.device) for _ in self._probes]
            for name in self._shares
        }

    def needs(self, subset: Subset, found: Mapping[str, SubsetCurvature]) -> bool:
        """Whether an unmeasured mixture waits for this class."""
        waiting = [shares for name, shares in self._shares.items() if name not in found]
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
