"""Second derivatives where PyTorch's own kernels have none, or wrong ones.

Fused attention and `embedding_bag` cannot be differentiated twice, nor can `hardsigmoid`; the second derivative of
`weight_norm` on a CPU is not symmetric (uᵀHv and vᵀHu of a small network differ by 7–17 %, PyTorch 2.14). The same
functions written in plain operations are right.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.backends import mha
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode


@contextlib.contextmanager
def math_attention() -> Iterator[None]:
    """Attention in plain operations while the block runs, in all threads: PyTorch keeps the choice for the process."""
    fast = mha.get_fastpath_enabled()
    mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mha.set_fastpath_enabled(fast)


class PlainOperations(TorchFunctionMode):
    """Replaces what cannot be differentiated twice in this thread, wherever a forward pass calls it."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Calls the function's plain form, if it has one for these arguments."""
        plain = PLAIN.get(func)
        return (plain or func)(*args, **(kwargs or {}))


def _hardsigmoid(inputs: Tensor, inplace: bool = False) -> Tensor:
    return functional.relu6(inputs + 3) / 6


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return v * (g / torch.norm_except_dim(v, 2, dim))


def _embedding_bag(inputs: Tensor, weight: Tensor, offsets: Tensor | None = None, *rest: Any, **more: Any) -> Tensor:
    """Bags of one length, (n, L); others go to PyTorch."""
    settings = dict(zip(BAG, rest, strict=False)) | more
    special = settings.get("padding_idx") is not None or settings.get("max_norm") is not None
    if inputs.dim() != 2 or offsets is not None or special:
        return functional.embedding_bag(inputs, weight, offsets, *rest, **more)
    found, weights = functional.embedding(inputs, weight), settings.get("per_sample_weights")
    if weights is not None:
        found = found * weights[..., None]
    mode = settings.get("mode", "mean")
    return found.amax(1) if mode == "max" else found.sum(1) if mode == "sum" else found.mean(1)


BAG = ("max_norm", "norm_type", "scale_grad_by_freq", "mode", "sparse", "per_sample_weights", "include_last_offset")
PLAIN: dict[Callable[..., Any], Callable[..., Tensor]] = {
    functional.hardsigmoid: _hardsigmoid,
    torch._weight_norm: _weight_norm,
    functional.embedding_bag: _embedding_bag,
}
