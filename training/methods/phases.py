"""A run's phases: the main training, then what a method asks for with the backbone frozen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from training.methods.method import Method, build_method
from training.methods.parts import Stage


@dataclass(frozen=True)
class Phase:
    """A stretch of epochs trained in one way.

    Attributes:
        start: Its first epoch, from 0.
        epochs: How many it has.
        method: What it minimizes.
        sampler: Which images it draws, None for each once.
        stage: None in the main training.
    """

    start: int
    epochs: int
    method: Method
    sampler: str | None
    stage: Stage | None

    @property
    def end(self) -> int:
        """The first epoch after it."""
        return self.start + self.epochs


def plan_phases(method: Method, class_counts: Sequence[int], *, epochs: int) -> tuple[Phase, ...]:
    """The phases of a run that train something; stages of no epochs are not among them.

    Args:
        method: The run's method.
        class_counts: n_c.
        epochs: Of the main training.

    Returns:
        The phases in order.
    """
    phases = [Phase(0, epochs, method, method.sampler, None)]
    for stage in method.stages:
        if stage.share > 0:
            its_method = build_method(stage.method, class_counts, **stage.kwargs)
            length = max(round(stage.share * epochs), 1)
            phases.append(Phase(phases[-1].end, length, its_method, stage.sampler, stage))
    return tuple(phases)
