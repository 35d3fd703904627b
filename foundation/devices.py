"""The device a command runs on, chosen by itself unless named."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Iterator

import torch

from foundation.errors import InputError
from foundation.ranks import local_rank, local_ranks

KINDS = ("cpu", "cuda", "mps", "xpu")


def choose_device(name: str = "auto", *, float64: bool = False) -> torch.device:
    """The device to run on: CUDA, then Apple's MPS, then the CPU, unless one is named.

    Under `torchrun` each process takes the GPU of its `LOCAL_RANK`, unless a number is named. TF32 is switched off: it
    moves top eigenvalues in the third digit.

    Args:
        name: `"auto"` or a torch device such as `"cpu"` or `"cuda:1"`.
        float64: Sums are kept in double precision, which MPS does not have.

    Returns:
        The device.

    Raises:
        InputError: The name is no device, or that device is not here or cannot do the work.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    if name in ("auto", "cuda") and torch.cuda.is_available():
        if local_rank() >= torch.cuda.device_count():
            raise InputError(
                f"{local_ranks()} processes share {torch.cuda.device_count()} GPUs: give torchrun "
                f"--nproc_per_node={torch.cuda.device_count()}"
            )
        return torch.device("cuda", local_rank())
    if name == "auto":
        return torch.device("mps" if torch.backends.mps.is_available() and not float64 else "cpu")
    if float64 and name.startswith("mps"):
        raise InputError(f"device {name!r} has no float64, in which sums are kept: use --device cpu")
    try:
        device = torch.device(name)
        if device.type not in KINDS:
            raise InputError(f"device {name!r} cannot measure or train: use {', '.join(KINDS)} or auto")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, ImportError, AttributeError, NotImplementedError):
        raise InputError(f"device {name!r} is not available here: use --device auto or cpu") from None
    return device


def describe_device(device: torch.device) -> str:
    """The device in words, with the thread count of a CPU, for provenance."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


@contextlib.contextmanager
def fast_kernels(*, tf32: bool) -> Iterator[None]:
    """What training allows a GPU while the block runs: kernels chosen by trying them, and TF32 if asked.

    Args:
        tf32: Whether convolutions and matrix products may round what they multiply to 10 bits of mantissa.

    Yields:
        Nothing; the settings are put back afterwards.
    """
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark
    matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = tf32, tf32, True
    try:
        yield
    finally:
        matmul.allow_tf32, cudnn.allow_tf32, cudnn.benchmark = before
