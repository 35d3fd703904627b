"""`python -m training.search` has moved to `analyses.search`; for one release the old name runs it.

Searching is a study: it lies above training, which must know nothing of it. This module is the one exception, it is no
part of the package's face, and nothing imports it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Says where the command went and runs it with the same arguments.

    Args:
        argv: Arguments instead of the process's own.
    """
    print(
        "python -m training.search is now python -m analyses.search; the old name goes with the next release",
        file=sys.stderr,
    )
    importlib.import_module("analyses.search").main(argv)


if __name__ == "__main__":
    main()
