"""Chooses how products of one network on one device are computed, by timing a few of them."""

from __future__ import annotations

import time
from dataclasses import replace

import torch
from torch import Tensor

from foundation.devices import free_memory
from landscape.curvature.fused import fused
from landscape.curvature.operators import Hessians, Plan
from landscape.subject import Subject

CPU_CHUNKS = (64, 128, 256)
"""Samples in one graph. Larger ones were slower: their activations leave the cache, and glibc hands tensors above
32 MB back to the system each time (2.9 s instead of 1.2 s a product for 1,485 images in one graph)."""
GPU_CHUNKS = (256, 1024, 4096)
MEMORY_SHARE = 0.4
"""Share of the memory free at the start that kept graphs may take."""


def choose_plan(subject: Subject, *, memory: int | None = None) -> Plan:
    """Times a few products and takes what is fastest.

    Args:
        subject: What will be measured.
        memory: Bytes that kept graphs may take; by default a share of what is free.

    Returns:
        The plan.
    """
    total = len(subject.labels)
    sizes = [n for n in (GPU_CHUNKS if subject.device.type == "cuda" else CPU_CHUNKS) if n < total]
    workers = torch.get_num_threads() if subject.device.type == "cpu" else 1
    plan = Plan(sizes[0] if sizes else total, keep=total, workers=workers)
    inputs = subject.inputs(slice(0, plan.chunk))
    plan = replace(plan, fused=fused(subject.network, inputs) is not None)
    layouts = (False, True) if sizes and inputs.dim() == 4 else (False,)
    plan = _fastest(subject, [replace(plan, channels_last=layout) for layout in layouts])
    plan = _fastest(subject, [plan, *(replace(plan, chunk=n, sample_seconds=0.0) for n in sizes[1:])])
    held = _sample_bytes(subject, plan)
    return replace(
        plan, sample_bytes=held, keep=(memory or int(MEMORY_SHARE * free_memory(subject.device))) // max(held, 1)
    )


def _fastest(subject: Subject, plans: list[Plan]) -> Plan:
    timed = [replace(p, sample_seconds=p.sample_seconds or _sample_seconds(subject, p)) for p in plans]
    return min(timed, key=lambda p: p.sample_seconds)


def _sample_seconds(subject: Subject, plan: Plan) -> float:
    """Seconds a sample of one product on kept graphs, one chunk a worker: the faster of two, after a warm-up."""
    rows = slice(0, min(plan.chunk * plan.workers, len(subject.labels)))
    hessian = Hessians(subject, plan).of_rows(rows)
    vector = torch.ones(subject.size, dtype=subject.dtype, device=subject.device)
    seconds = []
    for _ in range(3):
        _synchronise(subject.device)
        started = time.perf_counter()
        hessian(vector)
        _synchronise(subject.device)
        seconds.append(time.perf_counter() - started)
    return min(seconds[1:]) / rows.stop


def _sample_bytes(subject: Subject, plan: Plan) -> int:
    """Bytes that the kept graph of one sample holds, parameters and inputs aside."""
    plan = replace(plan, workers=1)  # hooks watch their own thread only
    rows = slice(0, min(32, plan.chunk))
    storages: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        hessian = Hessians(subject, plan).of_rows(rows)
        gradient = hessian.gradient
    for tensor in [gradient, *subject.parameters.values(), subject.inputs(rows)]:
        storages.pop(tensor.untyped_storage().data_ptr(), None)
    return sum(storages.values()) // (rows.stop - rows.start)


def _synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
