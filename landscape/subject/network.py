"""The private copy of a network that is measured, and the proof that measuring left it as it was."""

from __future__ import annotations

import contextlib
import copy
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from foundation.errors import InputError, LandscapeError

BITS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def private_copy(network: nn.Module, *, dtype: torch.dtype, device: torch.device | str) -> nn.Module:
    """A copy in evaluation mode, without what wraps a network to compile or spread it.

    Tensors that modules merely store go to the device and the dtype too; those that hang in a graph, such as the
    activations of the last pass, are copied without it.

    Args:
        network: Unchanged.
        dtype: Of the copy's floating-point tensors.
        device: Where the copy lies.

    Returns:
        The copy.

    Raises:
        InputError: It is no module of plain real parameters, or cannot be copied.
    """
    if not isinstance(network, nn.Module) or isinstance(network, torch.jit.ScriptModule):
        raise InputError(f"a {type(network).__name__} cannot be measured: give the torch.nn.Module that it was made of")
    for name, module in network.named_modules():
        if "quantized" in type(module).__module__:
            raise InputError(f"{name or 'the network'} is quantized and has no derivatives: give the float network")
    for name, parameter in network.named_parameters():
        if _sharded(parameter):
            raise InputError(
                f"parameter {name!r} is sharded by FSDP, which has no second derivatives: give the whole network, with "
                "what get_model_state_dict gathers (full_state_dict=True)"
            )
        if is_lazy(parameter):
            raise InputError(f"parameter {name!r} has no shape yet: send one batch through the network first")
        if parameter.is_complex():
            raise InputError(f"parameter {name!r} is complex: give a network of real parameters")
    try:
        copied = _unwrapped(_copied(network, {}))
    except Exception as error:
        raise InputError(
            f"the network cannot be copied ({_line(error)}): leave out of its modules what copy.deepcopy refuses"
        ) from error
    copied = copied.to(device=device, dtype=dtype).eval()
    for tensor in _stored(copied):
        if not isinstance(tensor, nn.Parameter):
            tensor.data = tensor.data.to(device=device, dtype=dtype if tensor.is_floating_point() else tensor.dtype)
    return copied


def replica(network: nn.Module) -> nn.Module:
    """A copy that shares parameters and buffers, but no state that a forward pass leaves on its modules."""
    return _copied(network, {id(tensor): tensor for tensor in [*network.parameters(), *network.buffers()]})


@contextlib.contextmanager
def own_tensors(network: nn.Module) -> Iterator[None]:
    """Gives modules their own parameters and buffers back after a block, whatever happens in it.

    Modules that are reachable by two names are left with plain tensors for parameters by `torch.func.functional_call`
    (PyTorch 2.14), after which every derivative is zero.

    Args:
        network: What the block works with.

    Yields:
        Nothing.
    """
    owned = [(m, dict(m._parameters), dict(m._buffers)) for m in network.modules()]
    try:
        yield
    finally:
        for module, parameters, buffers in owned:
            module._parameters.update(parameters)
            module._buffers.update(buffers)


@contextlib.contextmanager
def unchanged(network: nn.Module) -> Iterator[None]:
    """Puts a network's tensors and buffers back after a block, and proves that its parameters are as before.

    Args:
        network: What the block works with.

    Yields:
        Nothing.

    Raises:
        LandscapeError: The block left a parameter with other values.
    """
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    before = checksums(network)
    try:
        with own_tensors(network):
            yield
    finally:
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)
    after = checksums(network)
    changed = [name for name in before if after[name] != before[name]]
    if changed:
        raise LandscapeError(f"measuring has changed parameter {changed[0]!r}: the numbers cannot be trusted")


def checksums(network: nn.Module) -> dict[str, int]:
    """The sum of the bit patterns of each parameter, by name."""
    named = ((name, parameter.detach().contiguous()) for name, parameter in network.named_parameters())
    return {name: int(tensor.view(BITS[tensor.element_size()]).sum(dtype=torch.int64)) for name, tensor in named}


def _copied(network: nn.Module, shared: dict[int, Any]) -> nn.Module:
    """A deep copy but for what is shared, by identity; tensors that hang in a graph are cut from it."""
    cut = {id(tensor): tensor.detach().clone() for tensor in _stored(network) if not tensor.is_leaf}
    return copy.deepcopy(network, cut | shared)


def _unwrapped(module: nn.Module) -> nn.Module:
    """Without `torch.compile`, DataParallel and DDP around it or its parts."""
    while True:
        inner = getattr(module, "_orig_mod", None)
        if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
            inner = module.module
        if not isinstance(inner, nn.Module):
            break
        module = inner
    module._compiled_call_impl = None
    for name, child in module._modules.items():
        if child is not None:
            module._modules[name] = _unwrapped(child)
    return module


def _sharded(parameter: Tensor) -> bool:
    """Whether a parameter's numbers lie on several ranks: a DTensor of `fully_shard`, a flat one of FSDP before it."""
    loaded = sys.modules.get("torch.distributed.tensor")  # else nobody can have made one
    return hasattr(parameter, "_is_flat_param") or (loaded is not None and isinstance(parameter, loaded.DTensor))


def _stored(network: nn.Module) -> Iterator[Tensor]:
    """Tensors that modules hold besides parameters and buffers, also in lists, tuples and dictionaries."""
    for module in network.modules():
        for key, value in vars(module).items():
            if key in ("_parameters", "_buffers", "_modules"):
                continue
            parts = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
            yield from (part for part in parts if isinstance(part, Tensor))


def _line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
