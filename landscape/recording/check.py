"""What can be measured of a network, how, and at what cost, found out in seconds: `landscape.check`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from foundation.errors import LandscapeError
from landscape.execution.checks import check_finite
from landscape.execution.double import in_double
from landscape.execution.evaluate import Evaluator
from landscape.execution.second_order import PLAIN
from landscape.hessian.checks import check_symmetry
from landscape.hessian.estimators.exact_trace import backward_passes
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import Plan
from landscape.hessian.record import announcement
from landscape.hessian.result import HessianSettings
from landscape.sharpness.result import SharpnessSettings
from landscape.subject.called import inner
from landscape.subject.nested import shapes
from landscape.subject.subject import Subject
from landscape.surface.result import SurfaceSettings

GRADIENT = 3
"""Forward passes that a gradient takes, about."""


@dataclass(frozen=True)
class Finding:
    """One thing that was tried.

    Attributes:
        what: Such as `second derivatives`.
        works: Whether it does.
        said: How, or why not: one sentence.
    """

    what: str
    works: bool
    said: str


@dataclass(frozen=True)
class CheckReport:
    """What can be measured of a network; printed, a line each.

    Attributes:
        findings: What was tried, in order.
        notes: What a reader of the numbers or of a picture should know.
    """

    findings: tuple[Finding, ...]
    notes: tuple[str, ...]

    @property
    def works(self) -> bool:
        """Whether a Hessian can be measured."""
        return all(finding.works for finding in self.findings)

    def __str__(self) -> str:
        """A line a finding, then the notes."""
        lines = [f"{'yes' if f.works else 'NO ':<4}{f.what}: {f.said}" for f in self.findings]
        return "\n".join([*lines, *(f"    note: {note}" for note in self.notes)])


def check(network: nn.Module | Subject, data: Any = None, **options: Any) -> CheckReport:
    """Tries on a few samples whatever a measurement takes, and says what works, how, and what it will cost.

    Args:
        network: A network, or a subject that was made of one.
        data: As for `Subject`; None with a subject.
        **options: As for `Subject`.

    Returns:
        The findings; what a user gives never raises here, but is found not to work.
    """
    findings: list[Finding] = []
    found: list[Subject] = []

    def attempt(what: str, work: Callable[[], str]) -> bool:
        try:
            findings.append(Finding(what, True, work()))
        except LandscapeError as error:
            findings.append(Finding(what, False, str(error)))
        return findings[-1].works

    def made() -> str:
        found.append(network if isinstance(network, Subject) else Subject(network, data, **options))
        return _described(found[0])

    if attempt("network and data", made) and attempt("loss of each sample", lambda: _loss(found[0])):
        subject = found[0]
        seconds = _forward_seconds(subject)
        attempt("sharpness and surfaces", lambda: _first_order(subject, seconds))
        if attempt("second derivatives", lambda: _second_order(subject)):
            plan = choose_plan(subject)
            attempt("Hessian", lambda: _hessian(subject, plan))
        return CheckReport(tuple(findings), tuple(_notes(subject)))
    return CheckReport(tuple(findings), ())


def _described(subject: Subject) -> str:
    every = sum(p.numel() for p in inner(subject.network).parameters())
    frozen = f", of {every:,}: the others are frozen or not chosen" if every != subject.size else ""
    return (
        f"{type(inner(subject.network)).__name__} with {subject.size:,} measured parameters{frozen}; "
        f"{len(subject.labels):,} samples {shapes(subject.inputs(slice(0, 1)))[1:-1]} in {len(subject.subsets)} subsets"
    )


def _loss(subject: Subject) -> str:
    check_finite(subject)
    accuracy = "" if subject.accuracy is not None else "; no accuracy, for targets are no classes"
    return f"repeats, is each sample's own and finite in {_precision(subject)}{accuracy}"


def _first_order(subject: Subject, seconds: float) -> str:
    evaluator = Evaluator(subject)
    passes, sharp, points = seconds * len(subject.labels), SharpnessSettings(), SurfaceSettings().points
    a, b = points if isinstance(points, tuple) else (points, points)
    steps = (1 + sharp.steps * len(sharp.radii)) * GRADIENT * sum(
        s.measured_count for s in subject.subsets if subject.twin(s) is None
    )  # fmt: skip
    whole = seconds * steps + 2 * sharp.draws * len(sharp.radii) * passes
    return (
        f"evaluated {evaluator.form}; about {_time(whole)} for sharpness, at most {_time(a * b * passes)} "
        f"for a surface of {a} × {b} cells"
    )


def _second_order(subject: Subject) -> str:
    check_symmetry(subject)
    replaced = _replaced(subject)
    how = f"with {' and '.join(replaced)} in plain operations" if replaced else "as the network is"
    exact = (
        "held against float64" if in_double(subject) is not None else "float32 only, so that no noise floor is known"
    )
    return f"{how}; {exact}"


def _hessian(subject: Subject, plan: Plan) -> str:
    trace = "exact trace" if backward_passes(subject) else "trace by random probes"
    fused = ", BatchNorm and ReLU in cheaper forms" if plan.fused else ""
    return f"{announcement(subject, HessianSettings(), plan, 0)}; {trace}{fused}, {plan.workers} threads"


class _Watch(TorchFunctionMode):
    """Notes which operations a forward pass calls."""

    def __init__(self) -> None:
        super().__init__()
        self.called: set[Any] = set()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls the function as it is."""
        self.called.add(func)
        return func(*args, **(kwargs or {}))


ATTENTION = (functional.scaled_dot_product_attention, functional.multi_head_attention_forward)


def _replaced(subject: Subject) -> list[str]:
    """What of the network has no second derivative, or a wrong one, in the form that PyTorch runs it in."""
    watch = _Watch()
    with torch.enable_grad(), watch:
        subject.network(subject.inputs(slice(0, 1)))
    names = [getattr(f, "__name__", str(f)).strip("_") for f in PLAIN if f in watch.called]
    return (["attention"] if watch.called & set(ATTENTION) else []) + names


def _notes(subject: Subject) -> list[str]:
    modules, notes = list(inner(subject.network).modules()), []
    if any(isinstance(m, nn.ReLU | nn.LeakyReLU | nn.ReLU6 | nn.Hardtanh | nn.MaxPool2d) for m in modules):
        notes.append("the loss has kinks (ReLU, max-pooling): a picture's curvature is not the Hessian's")
    if any(isinstance(m, nn.modules.batchnorm._BatchNorm) for m in modules):
        notes.append(
            "BatchNorm: the raw eigenvalues change when weights before it are rescaled, which changes no prediction; "
            "compare the scale-free ones"
        )
    small = [s.label for s in subject.subsets if s.measured_count < 10]
    if small:
        listed = ", ".join(small[:4]) + (f" and {len(small) - 4} more" if len(small) > 4 else "")
        notes.append(f"fewer than 10 samples in {listed}: their values say little of other samples")
    return notes


def _forward_seconds(subject: Subject) -> float:
    """Of one sample, from a second pass over a few."""
    inputs, seconds = subject.inputs(slice(0, 64)), 0.0
    with torch.no_grad():
        for _ in range(2):
            started = time.perf_counter()
            subject.network(inputs)
            if subject.device.type == "cuda":
                torch.cuda.synchronize(subject.device)
            seconds = time.perf_counter() - started
    return seconds / min(64, len(subject.labels))


def _precision(subject: Subject) -> str:
    return str(subject.dtype).removeprefix("torch.")


def _time(seconds: float) -> str:
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{max(seconds, 0.1):.1f} s"
