"""Loss and accuracy of every subset from one forward pass over the data, as fast as a forward pass can be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from foundation.errors import InputError
from landscape.execution.agreement import moved, same_outputs
from landscape.execution.bn_folding import FoldedNetwork
from landscape.execution.cuda_graphs import Replayed, answers, cuda_recorder, recorded_if_same
from landscape.execution.layout import packed
from landscape.execution.sharing import thread_pool
from landscape.subject.batch_norm import recalibrate
from landscape.subject.nested import Inputs, cast, chosen, sample_bytes
from landscape.subject.samples import RESIDENT_BYTES, Batch, Samples
from landscape.subject.subject import Subject
from landscape.subject.subsets import Subset
from landscape.subject.temperature import slope_of

CACHED_BYTES = 3 << 20
"""Largest activation of a chunk on a CPU. ResNet-32, ms of processor time per 1,000 images, one thread: 1,418 in chunks
of 20, 1,340 of 34, 1,317 of 50, 1,353 of 84 (larger chunks fall out of the cache)."""

CALIBRATION_BATCH = 500
"""As `Subject.recalibrate` takes them, so that a checkpoint in a plane shows the statistics it has alone."""

TRIED = 64
"""Samples, of every class as far as they reach, on which another form of the network must agree."""

ACCELERATOR_BYTES = 256 << 20
"""The same on a GPU, where a chunk must only be large enough to fill it."""


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy of every subset at one point.

    Attributes:
        subset: Names of the S subsets.
        loss: Mean loss of each subset, (S,).
        accuracy: Share of each subset's samples that are classified rightly, 0 to 1, weighted as its loss is, (S,);
            NaN where targets are no classes and the subject has no accuracy of its own.
        loss_se: Standard error of `loss` where only some samples of a class were evaluated, (S,); 0 where all were.
        loss_slope: How `loss` rises with the temperature of the logits, dL/d log T at T = 1, (S,), where it was asked
            for.
    """

    subset: tuple[str, ...]
    loss: np.ndarray
    accuracy: np.ndarray
    loss_se: np.ndarray
    loss_slope: np.ndarray | None = None


class Evaluator:
    """Evaluates a subject wherever its weights are put: one forward pass gives every subset.

    The values are those of a plain `network(inputs)` to float32 rounding: BatchNorm is folded into the
    convolutions where the network can be traced and the folded form is seen to agree, and on a CPU images go through
    in channels-last chunks that stay in the cache, one thread each. The chunk follows from the size of the
    activations, not from a stopwatch, so that a resumed measurement rounds as the interrupted one did, with however
    many threads. On a GPU the work of a chunk is recorded once as a CUDA graph and replayed, if that is seen to agree.

    Args:
        subject: What is measured; it is as before after every call, also after an exception.
        calibration: Samples over which BatchNorm statistics are measured afresh at every point; the network's own
            statistics by default.
        samples_per_class: At most so many samples of each class, drawn once and the same at every point; they stand
            for their whole class, and the losses come with standard errors. All samples by default.
        seed: Of that draw.
        bf16: Multiply in bfloat16, weights and losses as they are: faster where the hardware has it, and three digits.
        slopes: Tell how the losses rise with the temperature too.

    Raises:
        InputError: `samples_per_class` is below 2, which leaves no standard error.

    Attributes:
        chunk: Samples of one call of the network; halved when the memory does not suffice.
        samples: How many samples a point costs.
        partial: Whether only some samples of each class are evaluated.
        subsets: Names of the S subsets.
        classes: C.
    """

    def __init__(
        self,
        subject: Subject,
        *,
        calibration: Samples | None = None,
        samples_per_class: int | None = None,
        seed: int = 0,
        bf16: bool = False,
        slopes: bool = False,
    ) -> None:
        self._subject, self._bf16 = subject, bf16
        self._calibration = self._calibrating(calibration) if calibration is not None else None
        self.subsets, self.classes = tuple(subset.name for subset in subject.subsets), subject.classes
        every = slice(0, len(subject.labels))
        ranges = [r if r.stop <= every.stop else every for r in map(subject.rows, subject.subsets)]
        self._first, stop = min(r.start for r in ranges), max(r.stop for r in ranges)
        labels = subject.labels[self._first : stop].cpu()
        present = torch.bincount(labels, minlength=self.classes).double()
        check_draw(samples_per_class)
        self.partial = samples_per_class is not None
        self._kept: Tensor | None = None  # offsets of the evaluated rows from the first, when not all are
        if samples_per_class is not None:
            self._kept = _stratified(labels, samples_per_class, seed)
            labels = labels[self._kept]
        self.samples = len(labels)
        self._labels, self._targets = labels, subject.targets(self._places(slice(0, self.samples)))
        self._counts = torch.bincount(labels, minlength=self.classes).double()
        self._place = {subset.name: place for place, subset in enumerate(subject.subsets)}
        shares = [_class_weights(subset, present) for subset in subject.subsets]
        self._of_subset = torch.repeat_interleave(torch.tensor([len(members) for members, _ in shares]))
        self._of_class = torch.cat([members for members, _ in shares])
        self._weights = torch.cat([weights for _, weights in shares])  # one of each class that a subset holds
        self._weights *= present[self._of_class] / self._counts[self._of_class].clamp_min(1)
        self._unseen = 1 - self._counts / present.clamp_min(1)  # the share of each class that is not evaluated
        example = self._layout(self._rows(slice(0, min(8, self.samples))))
        fits = sample_bytes(example) * self.samples <= RESIDENT_BYTES
        self._inputs = self._layout(self._rows(slice(0, self.samples))) if fits else None
        limit = CACHED_BYTES if subject.device.type == "cpu" else ACCELERATOR_BYTES
        self.chunk = max(1, limit // _largest_activation(subject.network, chosen(example, slice(0, 1))))
        self._workers = thread_pool(subject)
        self._slope = slope_of(subject.loss, _widest(subject)) if slopes else None
        few = self._layout(subject.inputs(subject.few(TRIED)))
        self._folded: FoldedNetwork | None = FoldedNetwork(subject.network)
        if not (self._folded.folded and same_outputs(subject, self._folded, few, before=self._folded.refold)):
            self._folded = None
        self._recorded: Replayed | None = None
        if subject.device.type == "cuda" and isinstance(example, Tensor):
            self._recorded = self._replayed((example, self._targets[: len(example)]))

    def _replayed(self, sample: tuple[Tensor, ...]) -> Replayed | None:
        """The recorded work of a chunk, if it answers as the work does, at moved weights too."""
        recorded = recorded_if_same(self._losses, sample, cuda_recorder())
        with self._subject.placed(moved(self._subject)):
            if self._folded is not None:
                self._folded.refold()
            return recorded if recorded is not None and answers(recorded, self._losses, sample) else None

    @property
    def form(self) -> str:
        """How the network is evaluated, in words, such as `folded, replayed`."""
        words = {"folded": self._folded, "replayed": self._recorded, "bfloat16": self._bf16}
        return ", ".join(word for word, used in words.items() if used) or "plain"

    def here(self) -> Evaluation:
        """Every subset at the network's present weights."""
        values = [each.cpu().double() for each in self._forward(slice(0, self.samples))]
        loss, accuracy, *slope = (self.over_subsets(self._by_class(each)).numpy() for each in values)
        return Evaluation(self.subsets, loss, accuracy, self._standard_error(values[0]).numpy(), *slope)

    def at(self, vector: Tensor) -> Evaluation:
        """Every subset at other weights (P,)."""
        with self._placed(vector):
            return self.here()

    def losses_at(self, vector: Tensor, subset: Subset | None = None) -> Tensor:
        """The loss of each evaluated sample, or of a subset's alone, at other weights (P,): (n,) float64 on the CPU."""
        with self._placed(vector):
            losses, *_ = self._forward(self._part(subset))
        return losses.cpu().double()

    def mean_and_error(self, values: Tensor, subset: Subset | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Means over every subset, or one, of a number of each evaluated sample, and their standard errors.

        Args:
            values: Of all evaluated samples or of the subset's, (n,) float64, in the order of `losses_at`.
            subset: The one subset; all by default.

        Returns:
            Means and standard errors, (S,) each, or of one subset ().
        """
        every = torch.zeros(self.samples, dtype=torch.float64)
        every[self._part(subset)] = values
        which = slice(None) if subset is None else self._place[subset.name]
        found = self.over_subsets(self._by_class(every)), self._standard_error(every)
        mean, error = (one.numpy()[which] for one in found)
        return mean, error

    def batches(self, subset: Subset, size: int) -> Iterator[Batch]:
        """A subset's evaluated samples in batches of at most `size`; what they weigh sums to 1."""
        part = self._part(subset)
        mine, weights = self._of_subset == self._place[subset.name], torch.zeros(self.classes, dtype=torch.float64)
        weights[self._of_class[mine]] = self._weights[mine]
        for some in _cut(part, size):
            each = weights[self._labels[some]].to(self._subject.device, self._subject.dtype)
            yield Batch(self._layout(self._rows(some)), self._targets[some], each)

    def by_class(self, size: int) -> Iterator[tuple[int, Inputs, Tensor]]:
        """The evaluated samples of one class after another, at most so many at a time.

        Args:
            size: Most samples at a time.

        Yields:
            The class, inputs and targets of it.
        """
        start = 0
        for label, count in zip(*torch.unique_consecutive(self._labels, return_counts=True), strict=True):
            for begin in range(start, start + int(count), size):
                part = slice(begin, min(begin + size, start + int(count)))
                yield int(label), self._layout(self._rows(part)), self._targets[part]
            start += int(count)

    def _part(self, subset: Subset | None) -> slice | Tensor:
        """A subset among the evaluated samples: a range, or the places of strata that do not follow each other."""
        if subset is None:
            return slice(0, self.samples)
        rows = self._subject.rows(subset)
        if rows.stop > len(self._subject.labels):
            return torch.nonzero(torch.isin(self._labels, torch.tensor(subset.classes)))[:, 0]
        start, stop = rows.start - self._first, rows.stop - self._first
        if self._kept is not None:
            start, stop = torch.searchsorted(self._kept, torch.tensor([start, stop])).tolist()
        return slice(start, stop)

    def _by_class(self, values: Tensor) -> Tensor:
        return values.new_zeros(self.classes).index_add_(0, self._labels, values)

    def over_subsets(self, sums: Tensor) -> Tensor:
        """Each subset's mean from the sums over each class's evaluated samples, (C,) to (S,)."""
        # No matrix product: a class whose loss is NaN must not reach subsets where it weighs nothing.
        found = torch.zeros(len(self.subsets), dtype=torch.float64)
        return found.index_add_(0, self._of_subset, self._weights * sums[self._of_class])

    def _standard_error(self, losses: Tensor) -> Tensor:
        """Of stratified sampling without replacement (Cochran, "Sampling Techniques", 1977, eq. 5.7), (S,)."""
        if self._kept is None:
            return torch.zeros(len(self.subsets), dtype=torch.float64)
        means = self._by_class(losses) / self._counts
        variance = self._by_class((losses - means[self._labels]).square()) / (self._counts - 1)
        total = torch.where(self._unseen > 0, self._counts * variance * self._unseen, 0.0)
        found = torch.zeros(len(self.subsets), dtype=torch.float64)
        return found.index_add_(0, self._of_subset, self._weights.square() * total[self._of_class]).sqrt()

    @contextlib.contextmanager
    def _placed(self, vector: Tensor) -> Iterator[None]:
        buffers = [] if self._calibration is None else list(self._subject.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        with self._subject.placed(vector):
            try:
                if self._calibration is not None:
                    recalibrate(self._subject.network, self._calibration)
                yield
            finally:
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)

    def _calibrating(self, samples: Samples) -> list[Inputs]:
        """The calibration inputs in batches, laid out once and kept: they go through at every point."""
        order = torch.arange(len(samples.labels))
        batches = (samples.inputs(part) for part in torch.split(order, CALIBRATION_BATCH))
        return [self._layout(cast(batch, self._subject.dtype, self._subject.device)) for batch in batches]

    def _forward(self, part: slice | Tensor) -> tuple[Tensor, ...]:
        """Of each sample of a part of those evaluated: its loss, whether it is classified rightly, its slope; (n,)."""
        if self._folded is not None:
            self._folded.refold()
        done = list(self._workers.map(self._chunk, _cut(part, self.chunk)))
        return tuple(torch.cat(each) for each in zip(*done, strict=True))

    def _chunk(self, part: slice | Tensor) -> tuple[Tensor, ...]:
        inputs = self._layout(self._rows(part)) if self._inputs is None else chosen(self._inputs, part)
        try:
            with torch.inference_mode():
                return (self._recorded or self._losses)(inputs, self._targets[part])
        except torch.OutOfMemoryError:
            count = len(self._labels[part])
            if count == 1:
                raise
            self._recorded = None  # recordings hold memory of their own
            self.chunk = min(self.chunk, (count + 1) // 2)
        halves = [self._chunk(half) for half in _cut(part, self.chunk)]
        return tuple(torch.cat(each) for each in zip(*halves, strict=True))

    def _losses(self, inputs: Inputs, targets: Tensor) -> tuple[Tensor, ...]:
        network: FoldedNetwork | nn.Module = self._folded or self._subject.network
        with torch.autocast(self._subject.device.type, torch.bfloat16, enabled=self._bf16, cache_enabled=False):
            logits = network(inputs)
        logits = logits.to(self._subject.dtype)
        losses, accuracy = self._subject.loss(logits, targets), self._subject.accuracy
        right = torch.full_like(losses, torch.nan) if accuracy is None else accuracy(logits, targets)
        found = losses, right.to(losses.dtype)
        return found if self._slope is None else (*found, self._slope(logits, targets))

    def _rows(self, part: slice | Tensor) -> Inputs:
        """Inputs of a part of the evaluated samples, as the subject holds them."""
        return self._subject.inputs(self._places(part))

    def _places(self, part: slice | Tensor) -> slice | Tensor:
        """The subject's rows of a part of the evaluated samples."""
        if self._kept is not None:
            return self._first + self._kept[part]
        if isinstance(part, slice):
            return slice(self._first + part.start, self._first + part.stop)
        return self._first + part

    def _layout(self, inputs: Inputs) -> Inputs:
        return packed(self._subject, inputs)


def check_draw(samples_per_class: int | None) -> None:
    """Refuses so few samples of a class that they have no standard error.

    Args:
        samples_per_class: At least 2, or None for all.

    Raises:
        InputError: It is below 2.
    """
    if samples_per_class is not None and samples_per_class < 2:
        raise InputError(f"--samples-per-class {samples_per_class} gives no standard error: give 2 or more")


def _cut(part: slice | Tensor, size: int) -> list[slice | Tensor]:
    """A range or places in pieces of at most so many."""
    if isinstance(part, Tensor):
        return list(torch.split(part, size))
    return [slice(start, min(start + size, part.stop)) for start in range(part.start, part.stop, size)]


def _stratified(labels: Tensor, most: int, seed: int) -> Tensor:
    """Positions of at most so many samples of each class, drawn without replacement, ascending."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.argsort(torch.rand(len(labels), generator=generator, dtype=torch.float64))
    by_class = order[torch.argsort(labels[order], stable=True)]
    counts = torch.bincount(labels)
    rank = torch.arange(len(labels)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    return by_class[rank < most].sort().values


def _class_weights(subset: Subset, counts: Tensor) -> tuple[Tensor, Tensor]:
    """The classes of a subset that have samples, and what one sample of each counts in its mean, float64."""
    members = torch.tensor(subset.classes)
    members = members[counts[members] > 0]
    if subset.kind == "balanced":
        return members, 1 / (counts[members] * len(members))
    return members, torch.full((len(members),), 1 / float(counts[members].sum()), dtype=torch.float64)


def _widest(subject: Subject) -> torch.dtype:
    """float64 where the loss takes it, else the subject's own (class weights in float32, a device without it)."""
    rows = subject.few(2)
    try:
        with torch.inference_mode():
            subject.loss(subject.network(subject.inputs(rows)).double(), subject.targets(rows))
    except (RuntimeError, TypeError):
        return subject.dtype
    return torch.float64


def _largest_activation(network: nn.Module, example: Inputs) -> int:
    """Bytes of the largest tensor that one sample makes on its way through the network."""
    largest = sample_bytes(example)

    def watch(module: nn.Module, arguments: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.numel() * output.element_size())

    hooks = [module.register_forward_hook(watch) for module in network.modules()]
    try:
        with torch.inference_mode():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    return largest


def evaluate(subject: Subject) -> Evaluation:
    """Loss and accuracy of every subset at the network's present weights, and how the loss rises with the temperature.

    Args:
        subject: What is measured.

    Returns:
        The evaluation.
    """
    return Evaluator(subject, slopes=True).here()
