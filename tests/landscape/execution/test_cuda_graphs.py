from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from landscape.execution.cuda_graphs import Replayed, Tensors, recorded_if_same


def again(work: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
    """As a CUDA graph would: the work is done anew, and its results go where the first ones are."""
    results = work()

    def replay() -> None:
        for place, result in zip(results, work(), strict=True):
            place.copy_(result)

    return results, replay


def never(work: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
    raise RuntimeError("operation not permitted when stream is capturing")


def stale(work: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
    results = work()
    return results, lambda: results[0].add_(1.0)


def test_each_shape_is_recorded_once_and_results_are_not_overwritten() -> None:
    recorded: list[int] = []
    network = nn.Linear(3, 2)
    inputs = torch.randn(10, 3)

    def counting(work: Callable[[], Tensors]) -> tuple[Tensors, Callable[[], None]]:
        recorded.append(1)
        return again(work)

    replayed = Replayed(lambda x: (network(x), x.sum(1)), counting)
    with torch.inference_mode():
        found = [replayed(part) for part in torch.split(inputs, 4)]  # 4, 4 and a ragged 2
        for (outputs, sums), part in zip(found, torch.split(inputs, 4), strict=True):
            torch.testing.assert_close(outputs, network(part))
            torch.testing.assert_close(sums, part.sum(1))
    assert len(recorded) == 2


def test_a_replay_reads_the_present_weights() -> None:
    network, inputs = nn.Linear(3, 2), torch.randn(5, 3)
    replayed = Replayed(lambda x: (network(x),), again)
    with torch.inference_mode():
        before = replayed(inputs)[0]
    with torch.no_grad():
        network.weight.mul_(3.0)
    with torch.inference_mode():
        after = replayed(inputs)[0]
        assert not torch.equal(before, after)
        torch.testing.assert_close(after, network(inputs))


@pytest.mark.parametrize(("record", "used"), [(again, True), (never, False), (stale, False)])
def test_only_recordings_that_answer_as_the_function_does_are_used(record: Callable[..., object], used: bool) -> None:
    network, inputs = nn.Linear(3, 2), torch.randn(5, 3)
    assert (recorded_if_same(lambda x: (network(x),), (inputs,), record) is not None) == used
