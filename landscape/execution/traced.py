"""What a network's traced graph is made of: the convolutions, BatchNorms and ReLUs that a rewritten form replaces."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import torch
from torch import fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd

from landscape.subject.network import replica

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


@dataclass(frozen=True)
class Traced:
    """A network's graph and modules.

    Attributes:
        root: A replica that shares the network's parameters and buffers, whose state tracing may have touched.
        graph: To be rewritten in place.
        modules: Of the replica, by name.
    """

    root: nn.Module
    graph: fx.Graph
    modules: dict[str, nn.Module]

    def called(self, node: fx.Node) -> nn.Module | None:
        """The module that a node calls, or None."""
        return self.modules.get(str(node.target)) if node.op == "call_module" else None

    def convolutions(self) -> dict[fx.Node, fx.Node | None]:
        """Convolutions called once that do nothing else, each with the BatchNorm that alone reads its result or None.

        The BatchNorm too is called once, and normalizes by running statistics.
        """
        once = Counter(str(node.target) for node in self.graph.nodes if node.op == "call_module")
        found: dict[fx.Node, fx.Node | None] = {}
        for node in self.graph.nodes:
            if type(module := self.called(node)) not in CONVOLUTIONS or once[str(node.target)] > 1 or not plain(module):
                continue
            users = list(node.users)
            absorbed = len(users) == 1 and once[str(users[0].target)] == 1 and self.norm(users[0]) is not None
            found[node] = users[0] if absorbed and users[0].args[:1] == (node,) else None
        return found

    def convolution(self, node: fx.Node) -> _ConvNd:
        """The convolution that a node calls."""
        module = self.modules[str(node.target)]
        assert isinstance(module, _ConvNd)
        return module

    def norm(self, node: fx.Node) -> _BatchNorm | None:
        """The BatchNorm that a node calls, if it does nothing but normalize by running statistics."""
        module = self.called(node)
        if type(module) not in NORMS or not isinstance(module, _BatchNorm) or not plain(module):
            return None
        return None if module.running_mean is None or module.running_var is None or module.training else module

    def rectifies(self, node: fx.Node) -> bool:
        """Whether a node is a ReLU; a module merely called `relu` may be anything."""
        if not node.args:
            return False
        if node.op == "call_module":
            module = self.called(node)
            return type(module) is nn.ReLU and plain(module)
        if node.op == "call_method":
            return node.target in ("relu", "relu_")
        return node.op == "call_function" and node.target in (torch.relu, torch.relu_, functional.relu)


def traced(network: nn.Module) -> Traced | None:
    """The symbolic trace of a network; None where its forward cannot be followed.

    Args:
        network: In evaluation mode; unchanged.
    """
    try:
        root = replica(network)
        graph = fx.Tracer().trace(root)
    except Exception:  # whatever a forward does that symbolic tracing cannot follow
        return None
    return Traced(root, graph, dict(root.named_modules()))


def plain(module: nn.Module | None) -> bool:
    """Whether a module computes what its type says: no hook, parametrization or forward of its own."""
    if module is None or "forward" in vars(module) or hasattr(module, "parametrizations"):
        return False
    return not any(getattr(module, hooks, None) for hooks in HOOKS)
