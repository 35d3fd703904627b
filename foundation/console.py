"""Console scripts: the entry point `foundation.console:NAME` runs `NAME.__main__`, once that package is ours.

They start here and not in the package itself because another package may have taken its name. Which there are, only
pyproject.toml knows.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import partial

from foundation import endings
from foundation.errors import ForeignPackageError
from foundation.packages import require_own


def __getattr__(name: str) -> Callable[[], None]:
    """The console script of a package that lies beside this one."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return partial(_run, name)


def _run(package: str) -> None:
    endings.take_over()
    try:
        require_own(package)
    except ForeignPackageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    importlib.import_module(f"{package}.__main__").main()
