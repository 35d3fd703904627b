"""The forms in which data come: arrays, data sets, loaders and lists of batches, as samples in a fixed order."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    default_collate,
)

from foundation.errors import InputError
from landscape.subject.nested import Inputs, as_tensors, joined, shapes, tensors
from landscape.subject.samples import Samples, TensorSamples

Collate = Callable[[list[Any]], Any]
"""Items of a data set to one batch (inputs, targets)."""
TARGETS = ("labels", "label", "targets", "target")
"""Where a batch that is a dictionary has its targets."""
READ = 256  # items in memory while the targets of a data set are read


class DatasetSamples:
    """Items of a data set, fetched when they are needed; only the targets are kept.

    Args:
        dataset: Indexed; the same items at every fetch.
        places: Which of its items.
        collate: Makes a batch of items.

    Attributes:
        labels: Targets, (N, …).
    """

    def __init__(self, dataset: Any, places: Sequence[int], collate: Collate) -> None:
        self._dataset, self._places, self._collate = dataset, places, collate
        parts = [self._batch(places[start : start + READ])[1] for start in range(0, len(places), READ)]
        if not parts:
            raise InputError("there are no samples to measure: give a data set that has some")
        self.labels = _joined(parts)

    def inputs(self, indices: Tensor) -> Inputs:
        """The inputs of some samples, made into one batch."""
        return self._batch([self._places[i] for i in indices.tolist()])[0]

    def _batch(self, places: Sequence[int]) -> tuple[Inputs, Tensor]:
        return as_batch(self._collate([self._dataset[i] for i in places]))


def as_samples(data: Any, collate: Collate | None = None) -> Samples:
    """Samples from whatever form data come in.

    Args:
        data: A tuple (inputs, targets) of tensors, arrays, or tuples and dictionaries of them; a `Dataset`, a
            `DataLoader`, or an iterable of batches. A batch is (inputs, targets), or a dictionary that has its targets
            under `labels`. A loader's data set is read in its own order, without shuffling.
        collate: Items of a `Dataset` to one batch; PyTorch's default, or the loader's own.

    Returns:
        The samples.

    Raises:
        InputError: It is none of these, a loader that draws samples at random, or sizes differ.
    """
    if hasattr(data, "labels") and callable(getattr(data, "inputs", None)):
        return _counted(data)
    if isinstance(data, DataLoader):
        return _of_loader(data, collate)
    if isinstance(data, IterableDataset):
        return _of_batches(DataLoader(data, READ, collate_fn=collate))
    if isinstance(data, Dataset):
        return DatasetSamples(data, range(_length(data)), collate or default_collate)
    if isinstance(data, Mapping) or (isinstance(data, tuple) and len(data) == 2):
        return TensorSamples(*as_batch(data))
    if isinstance(data, Iterable) and not isinstance(data, Tensor | str | tuple):
        return _of_batches(data)
    raise InputError(
        f"a {type(data).__name__} is no data: give (inputs, targets), a Dataset, a DataLoader or a list of batches"
    )


def as_batch(batch: Any) -> tuple[Inputs, Tensor]:
    """Inputs and targets of a batch.

    Args:
        batch: (inputs, targets), or a dictionary that has its targets under `labels`.

    Returns:
        Both, as tensors.

    Raises:
        InputError: It is neither, or the sizes differ.
    """
    if isinstance(batch, Mapping):
        key = next((key for key in TARGETS if key in batch), None)
        if key is None:
            raise InputError(f"a batch has {', '.join(map(str, batch))} but no 'labels': give (inputs, targets)")
        parts: Any = ({name: value for name, value in batch.items() if name != key}, batch[key])
    elif isinstance(batch, tuple | list) and len(batch) == 2:
        parts = batch
    else:
        size = f" of {len(batch)}" if isinstance(batch, tuple | list) else ""
        raise InputError(
            f"a batch is a {type(batch).__name__}{size}: give (inputs, targets), with several inputs in a tuple or a "
            "dictionary"
        )
    inputs, targets = as_tensors(parts[0]), as_tensors(parts[1]) if not _numbers(parts[1]) else torch.tensor(parts[1])
    if not isinstance(targets, Tensor) or targets.dim() == 0:
        raise InputError("targets are one tensor or array, samples along its first axis: give them so")
    found = tensors(inputs)
    if not found or any(tensor.dim() == 0 or len(tensor) != len(targets) for tensor in found):
        raise InputError(f"inputs {shapes(inputs)} do not go with targets {shapes(targets)}: give one each a sample")
    return inputs, targets


def _numbers(values: Any) -> bool:
    return isinstance(values, list | tuple) and bool(values) and isinstance(values[0], int | float)


def _of_loader(loader: DataLoader[Any], collate: Collate | None) -> Samples:
    """A loader's data set, each item once; a loader over a stream is read once and kept."""
    if isinstance(loader.dataset, IterableDataset):
        return _of_batches(loader)
    sampler: Any = loader.sampler
    if loader.batch_sampler is not None and type(loader.batch_sampler) is not BatchSampler:
        sampler = loader.batch_sampler
    if isinstance(sampler, SubsetRandomSampler):
        places: Sequence[int] = sorted(int(i) for i in sampler.indices)
    elif isinstance(sampler, SequentialSampler) or (isinstance(sampler, RandomSampler) and not sampler.replacement):
        places = range(_length(loader.dataset))
    else:
        raise InputError(
            f"the loader draws its samples by a {type(sampler).__name__}, so that no pass is like another: give its "
            "dataset"
        )
    if loader.batch_size is None and loader.batch_sampler is None:  # items of the data set are batches
        return _of_batches(loader.dataset[i] for i in places)
    return DatasetSamples(loader.dataset, places, collate or loader.collate_fn)


def _of_batches(batches: Iterable[Any]) -> Samples:
    parts = [as_batch(batch) for batch in batches]
    if not parts:
        raise InputError("there are no samples to measure: give batches that have some")
    targets = _joined([targets for _, targets in parts])
    try:
        return TensorSamples(joined([inputs for inputs, _ in parts]), targets)
    except (RuntimeError, ValueError):
        sizes = sorted({shapes([t[0] for t in tensors(inputs)]) for inputs, _ in parts})
        raise InputError(
            f"samples of the batches have different shapes ({' and '.join(sizes[:2])}): pad them to one"
        ) from None


def _joined(targets: Sequence[Tensor]) -> Tensor:
    try:
        return torch.cat(list(targets))
    except RuntimeError:
        sizes = sorted({str(tuple(t.shape[1:])) for t in targets})
        raise InputError(f"targets have different shapes ({' and '.join(sizes[:2])}): pad them to one") from None


def _counted(samples: Samples) -> Samples:
    """Samples as they are, once inputs and labels are seen to be equally many where that can be seen."""
    if isinstance(samples, TensorSamples):
        return TensorSamples(*as_batch((samples.data, samples.labels)))
    return samples


def _length(dataset: Any) -> int:
    try:
        return len(dataset)
    except (TypeError, NotImplementedError):
        raise InputError(
            f"the {type(dataset).__name__} has no length: give batches, or a data set with __len__"
        ) from None
