"""Loss and accuracy of every subset from one forward pass over the data, as fast as a forward pass can be."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from landscape.folding import FoldedNetwork
from landscape.store import recording
from landscape.subject import RESIDENT_BYTES, Samples, Subject, Subset

CACHED_BYTES = 5 << 20
"""Largest activation of a chunk on a CPU. ResNet-32 on two cores, ms per 1,000 images: 802 in chunks of 32, 718 of
50, 755 of 64, 757 of 100, 1,022 of 250, 1,092 of 500 (larger chunks fall out of the cache)."""

ACCELERATOR_BYTES = 256 << 20
"""The same on a GPU, where a chunk must only be large enough to fill it."""


@dataclass(frozen=True)
class Evaluation:
    """Loss and accuracy of every subset at one point.

    Attributes:
        subset: Names of the S subsets.
        loss: Mean loss of each subset, (S,).
        accuracy: Share of each subset's samples that are classified rightly, 0 to 1, weighted as its loss is, (S,).
    """

    subset: tuple[str, ...]
    loss: np.ndarray
    accuracy: np.ndarray


class Evaluator:
    """Evaluates a subject wherever its weights are put: one forward pass gives every subset.

    The values are those of a plain `network(inputs)` to float32 rounding: BatchNorm is folded into the
    convolutions where the network can be traced and the folded form is seen to agree, and on a CPU images go through
    in channels-last chunks that stay in the cache. The chunk follows from the size of the activations, not from a
    stopwatch, so that a resumed measurement rounds as the interrupted one did.

    Args:
        subject: What is measured; it is as before after every call, also after an exception.
        calibration: Samples over which BatchNorm statistics are measured afresh at every point; the network's own
            statistics by default.

    Attributes:
        chunk: Samples of one call of the network; halved when the memory does not suffice.
        subsets: How many subsets it evaluates, S.
        classes: C.
    """

    def __init__(self, subject: Subject, *, calibration: Samples | None = None) -> None:
        self._subject, self._calibration = subject, calibration
        self.subsets, self.classes = len(subject.subsets), subject.classes
        ranges = [subject.rows(subset) for subset in subject.subsets]
        self._rows = slice(min(r.start for r in ranges), max(r.stop for r in ranges))
        self._labels = subject.labels[self._rows].cpu()
        self._class_weights = torch.stack([_class_weights(subject, subset) for subset in subject.subsets])
        count = self._rows.stop - self._rows.start
        example = self._layout(subject.inputs(slice(self._rows.start, self._rows.start + min(8, count))))
        fits = example[0].numel() * example.element_size() * count <= RESIDENT_BYTES
        self._inputs = self._layout(subject.inputs(self._rows)) if fits else None
        limit = CACHED_BYTES if subject.device.type == "cpu" else ACCELERATOR_BYTES
        self.chunk = max(1, limit // _largest_activation(subject.network, example[:1]))
        self._folded: FoldedNetwork | None = FoldedNetwork(subject.network)
        if not (self._folded.folded and self._folded.agrees(subject.network, example)):
            self._folded = None
        self._samples, self._count = 0, int(count)

    @property
    def forwards(self) -> float:
        """Samples evaluated so far, counted in passes over all that the subsets need."""
        return self._samples / self._count

    def here(self) -> tuple[Tensor, Tensor]:
        """Loss and accuracy of every subset at the network's present weights, (S,) float64 each on the CPU."""
        each = torch.stack(self._forward(self._rows)).cpu().double()
        sums = each.new_zeros(2, self._subject.classes).index_add_(1, self._labels, each)
        # No matrix product: a class whose loss is NaN must not reach subsets where it weighs nothing.
        weights = self._class_weights
        loss, accuracy = torch.where(weights > 0, weights * sums[:, None], 0.0).sum(2)
        return loss, accuracy

    def at(self, vector: Tensor) -> tuple[Tensor, Tensor]:
        """The same at other weights (P,), (S,) float64 each on the CPU."""
        with self._placed(vector):
            return self.here()

    def subset_at(self, vector: Tensor, subset: Subset) -> float:
        """The loss of one subset at other weights (P,), from its own samples only."""
        with self._placed(vector):
            losses, _ = self._forward(self._subject.rows(subset))
        return float(losses.cpu().double() @ self._subject.weights(subset).cpu())

    @contextlib.contextmanager
    def _placed(self, vector: Tensor) -> Iterator[None]:
        buffers = [] if self._calibration is None else list(self._subject.network.buffers())
        before = [buffer.clone() for buffer in buffers]
        with self._subject.placed(vector):
            try:
                if self._calibration is not None:
                    self._subject.recalibrate(self._calibration)
                yield
            finally:
                for buffer, value in zip(buffers, before, strict=True):
                    buffer.copy_(value)

    def _forward(self, rows: slice) -> tuple[Tensor, Tensor]:
        """Loss of each sample and whether it is classified rightly, (n,) each."""
        subject = self._subject
        network: FoldedNetwork | nn.Module = subject.network
        if self._folded is not None:
            self._folded.refold()
            network = self._folded
        losses = torch.empty(rows.stop - rows.start, dtype=subject.dtype, device=subject.device)
        right = torch.empty_like(losses)
        start = rows.start
        while start < rows.stop:
            part = slice(start, min(start + self.chunk, rows.stop))
            here = slice(part.start - rows.start, part.stop - rows.start)
            try:
                with torch.inference_mode():
                    logits = network(self._chunk(part))
                    losses[here] = subject.loss(logits, subject.labels[part])
                    right[here] = (logits.argmax(1) == subject.labels[part]).to(losses.dtype)
            except torch.OutOfMemoryError:
                if self.chunk == 1:
                    raise
                self.chunk = (self.chunk + 1) // 2
                continue
            start = part.stop
        self._samples += len(losses)
        return losses, right

    def _chunk(self, part: slice) -> Tensor:
        if self._inputs is None:
            return self._layout(self._subject.inputs(part))
        return self._inputs[part.start - self._rows.start : part.stop - self._rows.start]

    def _layout(self, inputs: Tensor) -> Tensor:
        return channels_last(inputs) if inputs.dim() == 4 and inputs.device.type == "cpu" else inputs


def channels_last(images: Tensor) -> Tensor:
    """Images (n, C, H, W) with the channels innermost in memory, also where C is 1.

    `Tensor.contiguous` leaves the strides of a single channel ambiguous; convolutions then answer in NCHW, and a
    max-pooling after them takes 13 times as long on a CPU (3.79 against 0.26 ms for 64 images of 24 × 28 × 28).
    """
    n, c, h, w = images.shape
    packed = images.contiguous(memory_format=torch.channels_last)
    return packed.as_strided((n, c, h, w), (c * h * w, 1, w * c, c))


def _class_weights(subject: Subject, subset: Subset) -> Tensor:
    """What one sample of each class counts in the subset's mean, (C,) float64 on the CPU; 0 outside it."""
    labels = subject.labels[subject.rows(subset)].cpu()
    shares = torch.zeros(subject.classes, dtype=torch.float64)
    shares.index_add_(0, labels, subject.weights(subset).cpu())
    return shares / torch.bincount(labels, minlength=subject.classes).clamp_min(1)


def _largest_activation(network: nn.Module, example: Tensor) -> int:
    """Bytes of the largest tensor that one sample makes on its way through the network."""
    largest = example.numel() * example.element_size()

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


def evaluate(subject: Subject, *, evaluator: Evaluator | None = None) -> Evaluation:
    """Loss and accuracy of every subset at the network's present weights.

    Args:
        subject: What is measured.
        evaluator: Of that subject, where one exists already.

    Returns:
        The evaluation.
    """
    loss, accuracy = (evaluator or Evaluator(subject)).here()
    return Evaluation(tuple(subset.name for subset in subject.subsets), loss.numpy(), accuracy.numpy())


def record_evaluation(
    file: Path,
    name: str,
    subject: Subject,
    *,
    config: Mapping[str, Any],
    checkpoint_sha256: str,
    provenance: Mapping[str, Any],
    overwrite: bool = False,
) -> None:
    """Makes sure that `/evaluation/<name>` is in the result file; every measuring command calls it first.

    Args:
        file: The `landscape.h5`.
        name: The measurement's name.
        subject: What is measured.
        config: Of the opened checkpoint.
        checkpoint_sha256: Of the checkpoint.
        provenance: Of this process.
        overwrite: Replace one of another configuration.
    """
    subject = subject.with_subsets(None)  # one pass gives them all, whichever ones a command was asked for
    with recording(
        file, "evaluation", name, subsets=subject.subsets, config=config, extent={},
        checkpoint_sha256=checkpoint_sha256, provenance=provenance, overwrite=overwrite,
    ) as record:  # fmt: skip
        if record is None:
            return
        evaluation = evaluate(subject)
        shape = (len(subject.subsets),)
        record.create("loss", dims=["subset"], shape=shape, unit="nats", meaning="mean loss")
        record.create("accuracy", dims=["subset"], shape=shape, unit="1", meaning="share classified rightly")
        record.write("loss", slice(None), evaluation.loss)
        record.write("accuracy", slice(None), evaluation.accuracy)
        record.finish()
