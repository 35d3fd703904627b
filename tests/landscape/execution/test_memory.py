"""One budget: what it holds, what it refuses, and that it decides nothing but what is kept."""

import pytest
import torch

from foundation.errors import InputError
from landscape.execution import memory
from landscape.execution.memory import LARGEST_BASIS, LEAST_BASIS, Budget, available, parse_bytes
from landscape.hessian.products.autotune import choose_plan
from landscape.hessian.products.operators import HessianFactory
from tests.landscape.hessian.oracle import subject


def test_amounts_are_read_as_people_write_them():
    assert parse_bytes("8G") == 8 << 30 and parse_bytes("1.5 MiB".replace(" ", "")) == 3 << 19
    assert parse_bytes("4096") == 4096 and parse_bytes("2gb") == 2 << 30
    for text in ("", "G", "-1G", "0", "8X", "1e9"):
        with pytest.raises(InputError, match="give one such as 8G"):
            parse_bytes(text)


def test_a_basis_comes_first_and_graphs_have_the_rest():
    assert Budget.of(8 << 30, 1000, torch.float32) == Budget((8 << 30) - LARGEST_BASIS * 4000, LARGEST_BASIS)
    assert Budget.of(8 << 30, 1000, torch.float64) == Budget((8 << 30) - LARGEST_BASIS * 8000, LARGEST_BASIS)
    assert Budget.of(1000, 5, torch.float32) == Budget(1000 - 5 * 20, 25)  # the whole space
    assert Budget.of(8 << 30, 25_000_000, torch.float32) == Budget((8 << 30) - 42 * 100_000_000, 42)
    assert Budget.of(8 << 30, 100_000_000, torch.float32).basis == 10 > LEAST_BASIS
    with pytest.raises(InputError, match=r"room for 7 vectors of 150,000,000 parameters.*give --memory 8.9G or more"):
        Budget.of(8 << 30, 150_000_000, torch.float32)


def test_half_of_the_machine_is_what_nobody_says_otherwise():
    assert available(torch.device("cpu")) == memory.physical() // 2


def test_the_budget_decides_what_is_kept_and_no_number():
    of = subject(torch.float32)
    vectors = torch.randn(2, of.size, generator=torch.Generator().manual_seed(0))
    plans = [choose_plan(of, memory=amount) for amount in (LARGEST_BASIS * of.size * 4, 1 << 30)]
    assert plans[0].keep < plans[1].keep
    small, large = (HessianFactory(of, plan).of(of.subsets[0]) for plan in plans)
    assert torch.equal(small.block(vectors), large.block(vectors)) and torch.equal(small.gradient, large.gradient)
