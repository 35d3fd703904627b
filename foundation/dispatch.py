"""Operations seen below autograd, without PyTorch's compiler."""

from __future__ import annotations

from torch.utils._python_dispatch import TorchDispatchMode


class Dispatch(TorchDispatchMode):
    """A dispatch mode that never meets the compiler.

    PyTorch wraps every mode so that the compiler stays out of it, which loads the compiler at the first operation (2 to
    3 s) and costs a call more at each of them. Nothing that runs under our modes is compiled.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False
