"""A step's passes as one CUDA graph: small networks wait for kernel launches, and a graph is one launch."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from training.methods.objective import TrainingProgress
from training.methods.optimizers.base import clipped_step

Run = Callable[[Sequence[Tensor], Tensor | None, TrainingProgress], Tensor]
Record = Callable[[Callable[[], Tensor]], tuple[Callable[[], object], Tensor]]


class WatchedProgress(TrainingProgress):
    """Where training stands, noting what an objective asks: a graph holds the answers as constants.

    Args:
        progress: What answers.
    """

    def __init__(self, progress: TrainingProgress) -> None:
        values = {field.name: getattr(progress, field.name) for field in fields(progress)}
        super().__init__(**values)
        object.__setattr__(self, "answers", {})

    def __getattribute__(self, name: str) -> Any:
        """The value, noted if it is one of progress."""
        value = super().__getattribute__(name)
        if name in TrainingProgress.__dataclass_fields__:
            super().__getattribute__("answers")[name] = value
        return value

    def reached(self, share: float) -> bool:
        """See `TrainingProgress.reached`: the answer is noted, not the epoch, which may go on without changing it."""
        answer = super().__getattribute__("epoch") >= share * super().__getattribute__("epochs")
        super().__getattribute__("answers")[share] = answer
        return bool(answer)

    def holds_at(self, progress: TrainingProgress) -> bool:
        """Whether `progress` would answer alike all that was asked."""
        answers: dict[str | float, Any] = super().__getattribute__("answers")
        return all(
            (getattr(progress, asked) if isinstance(asked, str) else progress.reached(asked)) == answer
            for asked, answer in answers.items()
        )


@dataclass
class _Kind:
    """Steps of one shape: what their objective asked, and once it was asked alike twice the recording."""

    progress: WatchedProgress
    inputs: list[Tensor]
    share: Tensor | None
    replay: Callable[[], object] | None = None
    objective: Tensor | None = None


class CapturedStep:
    """Takes steps whose forward pass, objective and backward pass are recorded once and replayed.

    A recording repeats the same kernels on the same addresses with the same numbers. So the batch is copied to where it
    reads, gradients are copied to where the optimizer reads, every shape has a recording of its own (an epoch's batches
    have two sizes at most), and a recording is dropped when training's progress gives the objective another answer. A
    step of a new kind runs as it is, which also lets libraries choose their kernels; the next like it is recorded.

    Args:
        run: A batch `(images, labels[, other labels])`, the share of the first labels and the progress to the
            objective.
        parameters: What is trained.
        optimizer: Steps after the passes, outside of the recording: its rate changes with every step.
        clip: Largest norm of the gradient; 0 for any.
        record: Records work without doing it; returns what does it again, and where its result then stands.
    """

    def __init__(
        self, run: Run, parameters: Sequence[nn.Parameter], optimizer: Optimizer, *, clip: float, record: Record
    ) -> None:
        self._run, self._optimizer, self._clip, self._record = run, optimizer, clip, record
        self._parameters = parameters
        self._kinds: dict[Hashable, _Kind] = {}

    def step(self, batch: Sequence[Tensor], share: float, progress: TrainingProgress) -> Tensor:
        """One step of the optimizer.

        Args:
            batch: Images and labels, and for mixed images the other labels.
            share: Of the first labels.
            progress: Where training stands.

        Returns:
            The objective at the weights before the step, a detached scalar.
        """
        shapes = tuple(tensor.shape for tensor in batch)
        kind = self._kinds.get(shapes)
        if kind is None or not kind.progress.holds_at(progress):
            mixed = batch[0].new_tensor(share) if len(batch) > 2 else None
            kind = self._kinds[shapes] = _Kind(WatchedProgress(progress), [t.clone() for t in batch], mixed)
            objective = self._pass(kind)
        else:
            for place, tensor in zip(kind.inputs, batch, strict=True):
                place.copy_(tensor)
            if kind.share is not None:
                kind.share.fill_(share)
            if kind.replay is None:
                kind.replay, kind.objective = self._record(lambda: self._pass(kind))
            kind.replay()
            assert kind.objective is not None
            objective = kind.objective.clone()
        clipped_step(self._optimizer, self._clip)
        return objective

    def _pass(self, kind: _Kind) -> Tensor:
        objective = self._run(kind.inputs, kind.share, kind.progress)
        found = torch.autograd.grad(objective, self._parameters, allow_unused=True)
        places, gradients = [], []
        for parameter, gradient in zip(self._parameters, found, strict=True):
            if gradient is not None:
                if parameter.grad is None:
                    parameter.grad = torch.empty_like(parameter)
                places.append(parameter.grad)
                gradients.append(gradient)
        torch._foreach_copy_(places, gradients)
        return objective.detach()


def cuda_recorder() -> Record:
    """Records CUDA graphs that share their memory, which is safe because none reads what another left."""
    pool = torch.cuda.graph_pool_handle()

    def record(work: Callable[[], Tensor]) -> tuple[Callable[[], object], Tensor]:
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool):
            result = work()
        return graph.replay, result

    return record
