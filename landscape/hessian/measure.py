"""The curvature of every subset of a subject, with the work that they can share."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
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
    work = _Work(subject, settings, plan, initial_vectors)
    measured, first = dict(done or {}), dict[str, SubsetCurvature]()
    for name, curvature in measured.items():
        if name in work.same:
            first.setdefault(work.same[name], curvature)
    with work.threads():
        for subset in work_order(subject):
            same = work.same[subset.name]
            twin = first.get(same)
            if twin is None or work.probes.needs(subset, {name for name, of in work.same.items() if of in first}):
                hessian = work.hessians.of(subset)
                products = work.probes.products(subset, hessian)
                twin = twin or work.measure(subset, hessian, products)
            first.setdefault(same, twin)
            if subset.name not in measured:
                measured[subset.name] = replace(twin, subset=subset.name)
                if on_done is not None:
                    on_done(measured[subset.name])
    return collect(subject, measured, settings, plan)


@guarded
def measure_some(
    subject: Subject,
    names: Iterable[str],
    *,
    settings: HessianSettings,
    plan: Plan,
    on_done: Callable[[SubsetCurvature], None],
    initial_vectors: Mapping[str, Tensor] | None = None,
) -> None:
    """Measures some subsets in any order, each to the last bit as `measure_hessian` does by the same plan.

    What a mixture shares with its classes is computed for it alone, by whichever process it falls to.

    Args:
        subject: The network and the data to measure it on.
        names: Subsets of `distinct`, named one after the other while they are measured.
        settings: How much to measure.
        plan: How to compute products.
        on_done: Called with each curvature as soon as it is known.
        initial_vectors: As of `measure_hessian`.
    """
    check_symmetry(subject)
    work = _Work(subject, settings, plan, initial_vectors)
    subsets = {subset.name: subset for subset in subject.subsets}
    with work.threads():
        for name in names:
            hessian = work.hessians.of(subsets[name])
            on_done(work.measure(subsets[name], hessian, work.probes.alone(subsets[name], hessian, work.hessians)))


def distinct(subject: Subject, done: Iterable[str] = ()) -> list[Subset]:
    """The subsets that are measured themselves, the largest first; the others have their samples and weights.

    Args:
        subject: What is measured.
        done: Names of subsets that are known already.
    """
    same = _same(subject)
    known, found = {same[name] for name in done if name in same}, []
    for subset in work_order(subject):
        if same[subset.name] not in known:
            known.add(same[subset.name])
            found.append(subset)
    return sorted(found, key=lambda subset: -subset.measured_count)


def _same(subject: Subject) -> dict[str, str]:
    """One name for all subsets of the same samples and weights, by each of their names."""
    return {s.name: (subject.twin(s) or s).name for s in subject.subsets}


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


class _Work:
    """What the subsets of one measurement share.

    Args:
        subject: The network and the data.
        settings: As asked for.
        plan: How to compute products.
        initial_vectors: As of `measure_hessian`.

    Attributes:
        hessians: Makes the Hessian of any subset.
        probes: Products of random probes.
        same: See `_same`.
    """

    def __init__(
        self, subject: Subject, settings: HessianSettings, plan: Plan, initial_vectors: Mapping[str, Tensor] | None
    ) -> None:
        self.hessians, self.same = HessianFactory(subject, plan), _same(subject)
        if backward_passes(subject):  # the trace takes no probes, and ‖H‖ few: they mostly leave 0.02 to 0.1 % open
            settings = replace(settings, probes=min(settings.probes, settings.slq_vectors))
        self._settings, self._initial = settings, initial_vectors or {}
        self.probes = _SharedProbes(subject, settings)
        self._forms = ProbeForms(self.hessians, settings.seed)
        self._scaled = ProbeForms(self.hessians, settings.seed, self.hessians.weight_sizes)
        self._traces = SampleTraces(self.hessians, seed=settings.seed, half_width=settings.trace_rtol)

    @contextlib.contextmanager
    def threads(self) -> Iterator[None]:
        """Second derivatives exist in the block, and threads are where they serve."""
        with math_attention(), self.hessians.workers.alone(self.hessians.subject.size):
            yield

    def measure(self, subset: Subset, hessian: HessianOperator, products: Sequence[Tensor] | None) -> SubsetCurvature:
        """One subset, with the products of the probes where they are known."""
        return measure_subset(
            self.hessians,
            subset,
            hessian,
            self._settings,
            probe_products=products,
            sample_traces=self._traces,
            forms=self._forms,
            scaled_forms=self._scaled,
            initial_vectors=self._initial.get(subset.name),
        )


class _SharedProbes:
    """Products of random probes with every mixture of class losses, added up from those of its classes."""

    def __init__(self, subject: Subject, settings: HessianSettings) -> None:
        classes = [s for s in subject.subsets if s.kind == "class"]
        self._class = {s.classes[0]: s for s in classes}
        self._like = subject.vector()
        self._shares: dict[str, dict[int, float]] = {}
        counts = torch.bincount(subject.labels, minlength=subject.classes).tolist()
        for subset in subject.subsets:
            present = [c for c in subset.classes if counts[c]]
            if subset.kind != "class" and self._class.keys() >= set(present):
                weights = torch.split(subject.weights(subset), [counts[c] for c in present])
                self._shares[subset.name] = {c: float(w.sum()) for c, w in zip(present, weights, strict=True)}
        if len(self._shares) * settings.probes * subject.size * 8 > SHARED_BYTES:
            self._shares.clear()  # each subset takes its own
        count = settings.probes if self._shares else 0
        self._probes = [probe(subject.size, settings.seed, i).to(self._like) for i in range(count)]
        self._sums: dict[str, list[Tensor]] = {}

    def needs(self, subset: Subset, known: Collection[str]) -> bool:
        """Whether a mixture that is not known waits for this class."""
        waiting = [shares for name, shares in self._shares.items() if name not in known]
        return subset.kind == "class" and any(subset.classes[0] in shares for shares in waiting)

    def products(self, subset: Subset, hessian: HessianOperator) -> Sequence[Tensor] | None:
        """The probes' products with this subset's Hessian, or None when it has to make them itself."""
        if subset.kind != "class":
            return self._sums.get(subset.name)
        if not self._shares:
            return None
        products = list(hessian.block(torch.stack(self._probes)))
        for name in self._shares:
            self._add(name, subset, products)
        return products

    def alone(self, subset: Subset, hessian: HessianOperator, hessians: HessianFactory) -> Sequence[Tensor] | None:
        """The same where no other subset has been asked before: a mixture asks its classes, in their order."""
        if subset.kind == "class":
            return list(hessian.block(torch.stack(self._probes))) if self._shares else None
        if subset.name not in self._shares:
            return None
        self._sums.pop(subset.name, None)
        for label, member in self._class.items():
            if label in self._shares[subset.name]:
                self._add(subset.name, member, list(hessians.of(member).block(torch.stack(self._probes))))
        return self._sums.pop(subset.name)

    def _add(self, name: str, member: Subset, products: Sequence[Tensor]) -> None:
        """Adds the products of a class to those of a mixture that holds it."""
        share = self._shares[name].get(member.classes[0])
        if share is not None:
            zeros = [torch.zeros(len(self._like), dtype=torch.float64, device=self._like.device) for _ in self._probes]
            for total, product in zip(self._sums.setdefault(name, zeros), products, strict=True):
                total.add_(product, alpha=share)
