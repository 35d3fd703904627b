"""Threads share a network only where a pass leaves nothing behind."""

import pytest
import torch
from torch import nn

from landscape.execution.sharing import shareable, thread_pool
from tests.landscape.execution.test_checks import subject
from tests.landscape.subject.test_subject import network


class Keeps(nn.Module):
    def __init__(self, how: str) -> None:
        super().__init__()
        self.body, self.how, self.kept, self.count = network(), how, [], 0

    def forward(self, x):
        y = self.body(x)
        if self.how == "attribute":
            self.last = y
        elif self.how == "counter":
            self.count += 1
        elif self.how == "list":
            self.kept.append(y)
        elif self.how == "module":
            self.body[0].seen = y
        elif self.how == "list emptied again":
            self.kept.append(y)
            y = self.kept[-1].tanh() + self.kept.pop()
        elif self.how == "attribute put back":
            self.count, before = y, self.count
            y = self.count.tanh()
            self.count = before
        return y


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("how", ["attribute", "counter", "list", "module", "list emptied again", "attribute put back"])
def test_state_on_a_module_sends_the_network_to_one_thread(how, two_threads):
    assert thread_pool(subject(Keeps(how))).count == 1
    assert thread_pool(subject(Keeps("nothing"))).count == 2


def test_hooks_send_the_network_to_one_thread(two_threads):
    hooked, seen = network(), {}
    hooked[0].register_forward_hook(lambda module, arguments, output: seen.update(last=output))
    assert thread_pool(subject(hooked)).count == 1


def test_buffers_that_a_pass_moves_are_state():
    class Counts(nn.Sequential):
        def forward(self, x):
            self.calls += 1
            return super().forward(x)

    counting = Counts(*network())
    counting.register_buffer("calls", torch.zeros(()))
    assert not shareable(subject(counting))


def test_state_outside_the_modules_shows_in_the_numbers():
    """A barrier makes the race certain: both threads write before either reads."""
    import threading

    place, meet = {}, threading.Barrier(2, timeout=5)

    class Elsewhere(nn.Linear):
        def forward(self, x):
            place["inputs"] = x
            if threading.current_thread() is not threading.main_thread():
                meet.wait()
            return super().forward(place["inputs"].flatten(1))

    assert not shareable(subject(Elsewhere(36, 4)))
