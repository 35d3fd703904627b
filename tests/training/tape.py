"""What a step does, operator by operator: recorded and played again, or searched for what makes a GPU's host wait."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

WAITING = ("_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal", "masked_select", "unique", "bincount")


class Tape(TorchDispatchMode):
    """Does what is dispatched and keeps it. Playing it again is what a CUDA graph does: the same operators in the same
    order on the same tensors with the same numbers, whatever Python would decide by then."""

    def __init__(self):
        super().__init__()
        self.done = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        self.done.append((func, args, kwargs or {}, out))
        return out

    def play(self):
        """Does all of it again; returns where each former result now stands."""
        now = {}

        def current(tensor):
            return now.get(id(tensor), tensor)

        for func, args, kwargs, former in self.done:
            again = func(*tree_map_only(torch.Tensor, current, args), **tree_map_only(torch.Tensor, current, kwargs))
            pairs = zip(*(torch.utils._pytree.tree_leaves(x) for x in (former, again)), strict=True)
            now.update({id(a): b for a, b in pairs if isinstance(a, torch.Tensor)})
        return now

    def waits(self):
        """The operators that read a tensor on the host or whose result's size depends on its numbers."""
        found = []
        for func, args, _, _ in self.done:
            name = func._schema.name.removeprefix("aten::")
            by_mask = name.startswith("index") and any(
                isinstance(leaf, torch.Tensor) and leaf.dtype == torch.bool
                for leaf in torch.utils._pytree.tree_leaves(args[1:2])
            )
            if name.rstrip("2") in WAITING or by_mask:
                found.append(name)
        return found

    def crossings(self):
        """What passed between the CPU and another device: the operators' names and options."""
        found = []
        for func, args, kwargs, out in self.done:
            leaves = torch.utils._pytree.tree_leaves((args, kwargs, out))
            if len({leaf.device.type for leaf in leaves if isinstance(leaf, torch.Tensor)}) > 1:
                found.append((func._schema.name, kwargs))
        return found


def recorder(network):
    """Records work on the CPU for `CapturedStep`: it is done once, and what that did to the network is undone."""

    def record(work):
        before = [buffer.clone() for buffer in network.buffers()]
        with Tape() as tape:
            result = work()
        for buffer, value in zip(network.buffers(), before, strict=True):
            buffer.copy_(value)
        return (lambda: result.copy_(tape.play().get(id(result), result))), result

    return record
