"""The console script `landscape`; it starts here because another package may have taken the name `landscape`."""

from __future__ import annotations

import importlib
import sys

from foundation.errors import ForeignPackageError
from foundation.packages import require_own


def main() -> None:
    """Hands over to `landscape.__main__`, once it is ours."""
    try:
        require_own("landscape")
    except ForeignPackageError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    importlib.import_module("landscape.__main__").main()
