"""A function of tensors recorded once and replayed: small networks leave a GPU waiting for launches otherwise."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from landscape.execution.agreement import AGREEMENT

Tensors = tuple[Tensor, ...]
Recorder = Callable[[Callable[[], Tensors]], tuple[Tensors, Callable[[], None]]]
"""Runs work and returns its results and what computes them anew, into the same memory."""

WARM_UP = 3


class Replayed:
    """A function whose work is recorded for each shape of its arguments and replayed from then on.

    What the function reads besides its arguments, such as weights, must stay where it is in memory: the replay reads
    its present values.

    Args:
        function: Of tensors, giving tensors of shapes that follow from theirs.
        record: How work is recorded.
    """

    def __init__(self, function: Callable[..., Tensors], record: Recorder) -> None:
        self._function, self._record = function, record
        self._recorded: dict[tuple[torch.Size, ...], tuple[Tensors, Tensors, Callable[[], None]]] = {}

    def __call__(self, *arguments: Tensor) -> Tensors:
        """What the function gives, in memory of its own."""
        shapes = tuple(argument.shape for argument in arguments)
        if shapes not in self._recorded:
            places = tuple(argument.clone() for argument in arguments)
            self._recorded[shapes] = (places, *self._record(lambda: self._function(*places)))
        places, results, replay = self._recorded[shapes]
        for place, argument in zip(places, arguments, strict=True):
            place.copy_(argument)
        replay()
        return tuple(result.clone() for result in results)


def recorded_if_same(
    function: Callable[..., tuple[Tensor, ...]], example: tuple[Tensor, ...], record: Recorder
) -> Replayed | None:
    """A function's recorded form, if it can be recorded and answers an example as the function does.

    Args:
        function: Of tensors.
        example: Arguments.
        record: How work is recorded.

    Returns:
        The recorded form; None where the results differ by more than float32 rounding, or nothing can be recorded.
    """
    replayed = Replayed(function, record)
    try:
        same = answers(replayed, function, example)
    except RuntimeError:  # work that waits for the GPU or chooses by its values cannot be recorded
        return None
    return replayed if same else None


def answers(replayed: Replayed, function: Callable[..., Tensors], example: Tensors) -> bool:
    """Whether a recorded form answers an example as the function does, to float32 rounding."""
    with torch.inference_mode():
        pairs = zip(function(*example), replayed(*example), strict=True)
        return all(bool((new - old).abs().max() <= AGREEMENT * old.abs().max()) for old, new in pairs)


def cuda_recorder() -> Recorder:
    """Records work as CUDA graphs, which share one pool of memory: results must be copied before the next replay."""
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):  # libraries choose their algorithms and workspaces before the recording
            for _ in range(WARM_UP):
                work()
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            results = work()
        return results, graph.replay

    return record
