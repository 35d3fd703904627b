"""The landscape along training, for at most a stated share of its time: `landscape.Tracker`."""

from __future__ import annotations

import contextlib
import hashlib
import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from foundation.errors import InputError, LandscapeError
from foundation.files import require_writable_folder
from foundation.provenance import provenance
from landscape.files.identity import subject_config
from landscape.files.target import Target
from landscape.recording.probe import Probe
from landscape.recording.track import PARTS, Track, read_track, write_track
from landscape.schema import FAILED, MEASURED, NON_FINITE, TODO
from landscape.subject.called import inner
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset

GUESSES = {"cosine": 4.0, "top": 60.0, "sam": 4.0}
"""What a part costs that was never measured, in evaluations of the same samples: a gradient takes three of them, twenty
products of three each find an eigenvalue without a warm start."""
MOST_OF_CHEAP = 1 / 6
"""Share of the budget that each of the cheap parts may take: eigenvalues have what three of them leave."""


class Tracker:
    """Measures a network again and again while it is trained.

    At each point, in this order: loss and accuracy; gradients and the cosines between them; the largest Hessian
    eigenvalue, started from the eigenvector of the point before; how the loss increases a radius up the gradient. What
    does not fit into the budget is left out and marked. The network that is trained is never touched, nor are random
    numbers drawn that it would draw; the file is whole after every point.

        tracker = landscape.Tracker((images, labels), every=100, out="track.h5")
        for batch in loader:
            ...
            optimizer.step()
            tracker.step(network)

    Args:
        data: What to measure on, as a `Subject` takes it: a few samples of each class are enough, all are too many.
        every: Steps from one point to the next.
        subsets: As of a `Subject`.
        out: The file.
        budget: Share of the time of training that measuring may take, above 0. The first evaluation, and a part that
            takes longer than the last time, may go beyond it; what follows waits until that is made up for.
        name: Of the track in the file.
        radius: ρ of the sharpness.
        resume: Continue the track in the file; points from the step on at which training goes on are replaced.
        tensorboard: A folder for TensorBoard's scalars, or a writer that has `add_scalar`.
        clock: Gives seconds.
        **options: Further arguments of a `Subject`, such as `loss`, `forward` and `params`; the device is by default
            that of the network.

    Raises:
        InputError: A number is out of range, the file holds a track already, or it cannot be written.

    Attributes:
        subject: The private copy that is measured; None before the first point.
        spent: Seconds spent on measuring.
        left_out: Points that were due and had no time even for the loss.
    """

    def __init__(
        self,
        data: Any,
        *,
        every: int = 100,
        subsets: Sequence[str] | Mapping[str, Any] | None = None,
        out: str | Path = "track.h5",
        budget: float = 0.1,
        name: str = "train",
        radius: float = 0.05,
        resume: bool = False,
        tensorboard: Any = None,
        clock: Callable[[], float] = time.perf_counter,
        **options: Any,
    ) -> None:
        if every < 1:
            raise InputError(f"every {every} is no number of steps: give 1 or more")
        if not budget > 0:
            raise InputError(f"budget {budget:g} leaves no time: give a share of the training time such as 0.1")
        if not 0 < radius < math.inf:
            raise InputError(f"radius {radius:g} is no length: give one above 0, such as 0.05")
        self._clock, self._began = clock, clock()
        self._since = self._began
        self._data, self._options = data, {**options, "subsets": subsets}
        self._every, self._budget, self._radius, self._out, self._name = every, budget, radius, Path(out), name
        require_writable_folder(self._out.parent, "the folder")
        held = read_track(self._out, name)
        self._track: Track | None = held and held[0]
        self._sha256 = held[1] if held else ""
        if self._track is not None and not resume:
            raise InputError(
                f"{str(self._out)!r} holds a track of {len(self._track.step)} points: name another file (out), or "
                "continue it with resume=True"
            )
        self._writer = tensorboard if hasattr(tensorboard, "add_scalar") else _writer(tensorboard)
        self._probe: Probe | None = None
        self._target: Target | None = None
        self._costs: dict[tuple[str, str | None], float] = {}  # what a part of a subset took the last time
        self._spent_on: dict[str, float] = {}
        self._writing = 0.0
        self._last: dict[tuple[str, int], int] = {}  # the step at which a part of a subset was measured
        self._steps, self.spent, self.left_out = 0, 0.0, 0
        self._account()

    @property
    def subject(self) -> Subject | None:
        """What is measured."""
        return None if self._probe is None else self._probe.subject

    @property
    def track(self) -> Track | None:
        """All points so far."""
        return self._track

    def step(self, network: nn.Module, *, step: int | None = None, epoch: float = math.nan) -> None:
        """Says that a step was done; measures the network where a point is due and there is time.

        Args:
            network: The network that is trained, in whatever mode, also inside DDP or `torch.compile`; of several
                processes let one call this.
            step: Steps done by now; by default one more than at the last call.
            epoch: Epochs done by now, for the axis of plots.

        Raises:
            InputError: The network or the data cannot be measured, or it is another than in the file.
        """
        before, self._steps = self._steps, self._steps + 1 if step is None else step
        if self._steps == before or self._steps % self._every:
            return
        if torch.cuda.is_available():
            torch.cuda.synchronize()  # what training has begun is not our time
        self._since = self._clock()
        if not self._fits("loss", None):
            self.left_out += 1
            return
        with _undisturbed():
            self._measure(network, epoch)
        self._account()

    def _measure(self, network: nn.Module, epoch: float) -> None:
        probe = self._follow(network)
        subsets = probe.subject.subsets
        point = Track.begun(tuple(s.name for s in subsets), self._steps, epoch)
        started = self._clock()
        self._part("loss", None, partial(probe.loss, point), point)
        if self._fits("cosine", None):
            self._part("cosine", None, partial(probe.cosine, point), point)
        for part in ("top", "sam"):
            ready = probe.curved if part == "top" else probe.knows_gradients
            for row in sorted(range(len(subsets)), key=lambda row: self._last.get((part, row), -1)):
                # Whose turn it is waits for time enough: a smaller subset would fit again and again, and it never.
                if not (self._fits(part, subsets[row]) and ready()):
                    break
                self._part(part, (row, subsets[row]), partial(getattr(probe, part), point, row, subsets[row]), point)
                self._last[part, row] = self._steps
        if probe.failed:
            point.status[..., PARTS.index("top")] = FAILED
        point.seconds[0] = self._clock() - started
        earlier = [] if self._track is None else [self._track.before(self._steps)]
        self._track = Track.joined([*earlier, point])
        self._write(point)

    def _part(self, part: str, of: tuple[int, Subset] | None, work: Callable[[], None], point: Track) -> None:
        """Does one part, notes what it took and what came of it."""
        began = self._clock()
        work()
        rows = slice(None) if of is None else of[0]
        found = {"cosine": "gradient_norm"}.get(part, part)
        values = np.atleast_1d(getattr(point, found)[0, rows])
        codes = np.where(np.isfinite(values), MEASURED, NON_FINITE)
        if part == "cosine" and not np.isfinite(values).any() and np.isfinite(point.loss).any():
            codes = np.full_like(codes, TODO)  # too many subsets for the memory
        point.status[0, rows, PARTS.index(part)] = codes if of is None else codes[0]
        took = self._clock() - began
        self._spent_on[part] = self._spent_on.get(part, 0.0) + took
        self._costs[part, of and of[1].name] = took

    def _fits(self, part: str, subset: Subset | None) -> bool:
        """Whether a part, at what it took the last time, leaves measuring within its share."""
        cost = self._costs.get((part, subset.name if subset else None))
        if cost is None:
            cost = self._costs.get(("loss", None), 0.0) * GUESSES.get(part, 1.0) * self._part_of_all(subset)
        now = self._clock()
        spent = self.spent + now - self._since
        allowed = self._budget * (now - self._began - spent)
        own = self._spent_on.get(part, 0.0)
        return spent + cost + self._writing <= allowed and (
            part == "top" or not own or own + cost <= MOST_OF_CHEAP * allowed
        )

    def _part_of_all(self, subset: Subset | None) -> float:
        if subset is None or self._probe is None:
            return 1.0
        return subset.measured_count / len(self._probe.subject.labels)

    def _follow(self, network: nn.Module) -> Probe:
        """The probe, at the network's present weights."""
        if self._probe is None:
            first = next(network.parameters(), None)
            device = {} if first is None else {"device": first.device}
            subject = Subject(network, self._data, **(device | self._options))
            self._data = None
            self._probe = Probe(subject, self._radius)
            if self._track is not None:
                names = tuple(s.name for s in subject.subsets)
                if self._sha256 != _structure(subject) or self._track.subset != names:
                    raise InputError(f"{str(self._out)!r} is a track of another network or subsets: name another file")
            config = {"split": self._name, **subject_config(subject)}
            config.pop("buffers", None)  # they change as weights do
            self._target = Target(
                self._out, self._name, _structure(subject), config, provenance(subject.device), overwrite=True
            )
        self._probe.follow(network)
        return self._probe

    def _write(self, point: Track) -> None:
        assert self._probe is not None and self._target is not None and self._track is not None
        began = self._clock()
        extent = {"every": self._every, "budget": self._budget, "radius": self._radius}
        notes = {"left_out": self.left_out, "failed": self._probe.failed}
        try:
            write_track(self._track, self._probe.subject.subsets, self._target, extent, notes)
        except InputError:
            raise
        except LandscapeError as error:  # a full disk ends no training
            warnings.warn(str(error), stacklevel=5)
        if self._writer is not None:
            for name in ("loss", "gradient_norm", "top", "sam"):
                for row, subset in enumerate(point.subset):
                    if np.isfinite(value := getattr(point, name)[0, row]):
                        self._writer.add_scalar(f"landscape/{name}/{subset}", value, self._steps)
        self._writing = self._clock() - began

    def _account(self) -> None:
        """Adds the time since measuring began to what was spent."""
        self.spent += self._clock() - self._since


def _structure(subject: Subject) -> str:
    """A hash of what stays while a network is trained: its class and the names and shapes of its parameters."""
    network = inner(subject.network)
    shapes = [(name, list(p.shape)) for name, p in network.named_parameters()]
    return hashlib.sha256(f"{type(network).__qualname__}{shapes}".encode()).hexdigest()


def _writer(folder: str | Path | None) -> Any:
    if folder is None:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise InputError("scalars for TensorBoard take the package tensorboard: install it") from None
    return SummaryWriter(str(folder))


@contextlib.contextmanager
def _undisturbed() -> Iterator[None]:
    """Gradients as measuring needs them, and the random numbers of training as they would have been."""
    with torch.random.fork_rng(range(torch.cuda.device_count())), torch.enable_grad():
        yield
