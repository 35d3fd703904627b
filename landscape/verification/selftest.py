"""Whether this machine computes and keeps what a measurement relies on: `landscape.selftest`."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from foundation.errors import LandscapeError
from landscape.execution.memory import available
from landscape.files.landscape_file import read_landscape
from landscape.hessian.checks import check_symmetry
from landscape.hessian.measure import measure_hessian
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.hessian.result import HessianSettings
from landscape.recording.check import CheckReport, Finding
from landscape.recording.save import save
from landscape.subject.subject import Subject

PRECISIONS = {torch.float64: 1e-10, torch.float32: 1e-4}
"""Largest error of a product as a share of ‖H‖, in each precision."""
PLAN = Plan(chunk=16)
SAMPLES, FEATURES, HIDDEN, CLASSES = 60, 6, 8, 3


def selftest(device: torch.device | str = "cpu") -> CheckReport:
    """Measures a network whose Hessian is known entry by entry, writes it, reads it back and looks at the machine.

    Args:
        device: Where to compute.

    Returns:
        A finding for each thing that was tried.
    """
    findings: list[Finding] = []

    def attempt(what: str, work: Callable[[], str]) -> None:
        try:
            findings.append(Finding(what, True, work()))
        except (LandscapeError, RuntimeError, OSError) as error:
            findings.append(Finding(what, False, " ".join(str(error).split())))

    attempt("products in float64", partial(_products, device, torch.float64, workers=1))
    attempt("products in float32", partial(_products, device, torch.float32, workers=1))
    attempt("products on two threads", partial(_products, device, torch.float64, workers=2))
    attempt("symmetry", partial(_symmetry, device))
    attempt("eigenvalues and trace", partial(_eigenvalues, device))
    attempt("a result file", partial(_round_trip, device))
    attempt("memory and disk", partial(_room, device))
    return CheckReport(tuple(findings), (f"PyTorch {torch.__version__} with {torch.get_num_threads()} threads",))


def _subject(device: torch.device | str, dtype: torch.dtype) -> Subject:
    generator = torch.Generator().manual_seed(0)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES))
    inputs = torch.randn(SAMPLES, FEATURES, generator=generator)
    targets = torch.arange(SAMPLES) % CLASSES
    return Subject(network, (inputs, targets), dtype=dtype, device=device)


def _exact(subject: Subject) -> Tensor:
    """The Hessian of `all`, (P, P), column by column in float64 on the CPU, by another way than products take."""
    network = nn.Sequential(nn.Linear(FEATURES, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, CLASSES)).double()
    rows = subject.rows(subject.subsets[0])
    inputs, targets = subject.inputs(rows).cpu().double(), subject.targets(rows).cpu()
    shapes = [p.shape for p in network.parameters()]
    names = [name for name, _ in network.named_parameters()]

    def loss(vector: Tensor) -> Tensor:
        parts = torch.split(vector, [shape.numel() for shape in shapes])
        weights = {name: part.view(shape) for name, part, shape in zip(names, parts, shapes, strict=True)}
        logits = torch.func.functional_call(network, weights, (inputs,))
        return nn.functional.cross_entropy(logits, targets)

    point = subject.vector().cpu().double()
    return torch.as_tensor(torch.autograd.functional.hessian(loss, point))  # type: ignore[no-untyped-call]


def _products(device: torch.device | str, dtype: torch.dtype, *, workers: int) -> str:
    subject = _subject(device, dtype)
    exact = _exact(subject)
    hessian = HessianFactory(subject, replace(PLAN, workers=workers)).of(subject.subsets[0])
    columns = [hessian(unit).cpu().double() for unit in torch.eye(subject.size).to(subject.vector())]
    error = float((torch.stack(columns, 1) - exact).norm() / exact.norm())
    if not error < PRECISIONS[dtype]:
        raise LandscapeError(f"they differ from the exact Hessian by {error:.1e} of it, allowed is {PRECISIONS[dtype]}")
    return f"all {subject.size} columns agree with the exact Hessian to {error:.1e} of it"


def _symmetry(device: torch.device | str) -> str:
    subject = _subject(device, torch.float32)
    check_symmetry(subject)
    return "uᵀHv = vᵀHu, and gradients are those of differences"


def _eigenvalues(device: torch.device | str) -> str:
    subject = _subject(device, torch.float32)
    found = measure_hessian(subject.with_subsets(["all"]), settings=HessianSettings(top=2, bottom=2), plan=PLAN).of(
        "all"
    )
    values = torch.linalg.eigvalsh(_exact(subject)).numpy()
    error = float(np.abs(np.r_[found.top.values - values[:-3:-1], found.bottom.values - values[:2]]).max() / values[-1])
    trace = abs(found.trace.value - float(values.sum())) / float(np.abs(values).sum())
    if not (error < 1e-2 and trace < 1e-3 + 6 * found.trace.error):
        raise LandscapeError(f"eigenvalues differ by {error:.1e} of the largest, the trace by {trace:.1e}")
    floor = found.negative_curvature.noise_floor
    return f"eigenvalues agree to {error:.1e} of the largest, the trace to {trace:.1e}; noise floor {floor:.1e}"


def _round_trip(device: torch.device | str) -> str:
    subject = _subject(device, torch.float32).with_subsets(["all"])
    result = measure_hessian(subject, settings=HessianSettings(top=1), plan=PLAN)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "landscape.h5"
        save(result, file, subject)
        kept = read_landscape(file).get("hessian", "train")
        for row, found in enumerate(result.curvatures):
            pairs = {"top": found.top.outermost, "trace": found.trace.value, "loss": found.loss}
            for name, value in pairs.items():
                stored = None if kept is None else np.ravel(kept.data[name][row])[0]
                if stored is None or not np.array_equal(stored, value, equal_nan=True):
                    raise LandscapeError(f"{name} of {found.subset} is read otherwise than it was written")
        return f"written, flushed, read back and the same, in {tempfile.gettempdir()}"


def _room(device: torch.device | str) -> str:
    memory, disk = available(torch.device(device)), shutil.disk_usage(tempfile.gettempdir()).free
    if min(memory, disk) < 1 << 30:
        raise LandscapeError(f"{memory / 2**30:.1f} GiB of memory and {disk / 2**30:.1f} GiB of disk are free: too few")
    return f"{memory / 2**30:.1f} GiB of memory and {disk / 2**30:.1f} GiB of disk are free"
