"""Batches side by side: one thread a batch instead of many threads inside one operation."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

SHORT = 1 << 20
"""Numbers in a vector below which its operations are not worth two threads."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class ThreadPool:
    """Maps a function over items in order, some at a time.

    Convolutions of small networks are too short to be split: two threads inside them took 1.8 ms a sample of a
    product where two threads side by side took 0.65 (three-block `cnn`, two busy cores). A batch that has nobody beside
    it is the calling thread's, with all threads inside its operations: 0.35 instead of 0.58 s (77 images, ResNet-32).

    Args:
        count: Threads; 1 works in the calling thread with whatever threads its operations use.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._pool: ThreadPoolExecutor | None = None

    @contextlib.contextmanager
    def alone(self, size: int) -> Iterator[None]:
        """Keeps the calling thread's own operations on short vectors to one thread while a block runs.

        Threads that have just shared such an operation spin for the next one on the cores that batches need: 72 ms a
        product with them, 61 without (129 samples and 53,362 parameters of the three-block `cnn`, two cores).

        Args:
            size: Numbers in a vector.

        Yields:
            Nothing.
        """
        threads = torch.get_num_threads()
        if self.count > 1 and size < SHORT:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(threads)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items, held no more than `count` at a time.

        Args:
            function: What to do with each; it may build and walk autograd graphs.
            items: The items.

        Yields:
            One result an item.
        """
        if self.count == 1:
            yield from map(function, items)
            return
        items = iter(items)
        first = list(itertools.islice(items, 2))
        threads = torch.get_num_threads()
        if len(first) == 1:
            torch.set_num_threads(self.count)
            try:
                result = function(first[0])
            finally:
                torch.set_num_threads(threads)
            yield result
            return
        items = itertools.chain(first, items)
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.count, "product", initializer=_alone)
        try:
            while window := list(itertools.islice(items, self.count)):
                yield from list(self._pool.map(function, window))
        finally:
            torch.set_num_threads(threads)  # a worker's setting reaches some libraries of the whole process


def _alone() -> None:
    torch.set_num_threads(1)
