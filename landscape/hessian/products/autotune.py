"""Chooses how products of one network on one device are computed, from the size of one sample's graph.

On a CPU the choice follows from sizes, not from a stopwatch, so that the same command gives the same numbers again; on
a GPU a stopwatch decides between kept graphs and compiled products. It is recorded with the measurement either way, and
one that continues after a kill goes by what is recorded.
"""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from landscape.execution.agreement import AGREEMENT, moved
from landscape.execution.memory import Budget, available
from landscape.execution.sharing import thread_pool
from landscape.hessian.products.bn_fusion import fused
from landscape.hessian.products.operators import HessianFactory, Plan
from landscape.subject.nested import tensors
from landscape.subject.subject import Subject

CACHED_BYTES = 5 << 20
"""Largest activation of a chunk on a CPU. A product of the three-block `cnn`, ms a sample on one core in chunks of
16, 32, 64, 128, 256: 1.08, 0.98, 0.82, 0.85, 0.87 (64 make 4.8 MB); in one graph of 1,485 twice that, for glibc hands
tensors above 32 MB back to the system each time. Channels-last layout was no faster."""
ACCELERATOR_BYTES = 256 << 20
"""The same on a GPU, where a chunk must only be large enough to fill it."""
LARGEST_CHUNK = 4096


def choose_plan(subject: Subject, *, memory: int | None = None) -> Plan:
    """The plan for a subject on its device.

    Args:
        subject: What will be measured.
        memory: Bytes for kept graphs and a Krylov basis; by default a share of the machine's.

    Returns:
        The plan; the time it names is that of a first few products.

    Raises:
        InputError: The memory does not hold the vectors of any basis.
    """
    cpu = subject.device.type == "cpu"
    room = Budget.of(available(subject.device) if memory is None else memory, subject.size, subject.dtype)
    rows = slice(0, min(8, len(subject.labels)))
    plan = Plan(rows.stop, keep=rows.stop, fused=fused(subject) is not None)
    held, largest = _sample_bytes(subject, plan, rows)
    samples = (CACHED_BYTES if cpu else ACCELERATOR_BYTES) // max(largest, 1)
    plan = replace(
        plan,
        chunk=max(1, min(samples, LARGEST_CHUNK)),
        keep=room.graphs // max(held, 1),
        basis=room.basis,
        workers=thread_pool(subject).count,
        sample_bytes=held,
    )
    seconds = _sample_seconds(subject, plan)
    if not cpu and (faster := _compiled(subject, plan, seconds)) is not None:
        return faster
    return replace(plan, sample_seconds=seconds)


def _compiled(subject: Subject, plan: Plan, seconds: float) -> Plan | None:
    """The plan with compiled products, if they agree with the eager ones and take less time."""
    other = replace(plan, compiled=True, fused=False, keep=0)
    rows = slice(0, min(plan.chunk, len(subject.labels)))
    vector = torch.ones(subject.size, dtype=subject.dtype, device=subject.device)
    agree = True
    try:
        for point in (moved(subject), subject.vector()):
            with subject.placed(point):
                eager, compiled = (HessianFactory(subject, p).of_rows(rows)(vector).double() for p in (plan, other))
            agree &= bool(torch.linalg.vector_norm(compiled - eager) <= AGREEMENT * torch.linalg.vector_norm(eager))
        other = replace(other, sample_seconds=_sample_seconds(subject, other))
    except Exception:  # whatever the compiler cannot follow in somebody's network
        return None
    return other if agree and other.sample_seconds < seconds else None


def _sample_bytes(subject: Subject, plan: Plan, rows: slice) -> tuple[int, int]:
    """Bytes that the kept graph of one sample holds and those of its largest tensor, parameters and inputs aside."""
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hessian = HessianFactory(subject, plan).of_rows(rows)
        gradient = hessian.gradient
    for tensor in [gradient, *subject.parameters.values(), *tensors(subject.inputs(rows))]:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    sizes = storages.values()
    return sum(sizes) // rows.stop, max(sizes, default=0) // rows.stop


def _sample_seconds(subject: Subject, plan: Plan) -> float:
    """Seconds a sample of one product on kept graphs, one chunk a worker, after a warm-up."""
    rows = slice(0, min(plan.chunk * plan.workers, len(subject.labels)))
    hessian = HessianFactory(subject, plan).of_rows(rows)
    vector = torch.ones(subject.size, dtype=subject.dtype, device=subject.device)
    started = 0.0
    for _ in range(2):
        if subject.device.type == "cuda":
            torch.cuda.synchronize(subject.device)
        started = time.perf_counter()
        hessian(vector)
    if subject.device.type == "cuda":
        torch.cuda.synchronize(subject.device)
    return (time.perf_counter() - started) / rows.stop
