"""Keeps measured figures in `docs/performance.md`: each benchmark rewrites its own block and no other."""

from __future__ import annotations

import re
from pathlib import Path

from foundation.files import write_text

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
HEAD = "# Performance\n\nMeasured figures; each block is rewritten by `python -m benchmarks.NAME`.\n"


def rewrite_block(name: str, text: str, *, document: Path = DOCUMENT) -> None:
    """Replaces what stands between a benchmark's marks, or adds the block at the end.

    Args:
        name: Of the benchmark; its marks are comments that a reader of the page does not see.
        text: Markdown.
        document: The file; made when absent.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    block = f"{begin}\n{text.strip()}\n{end}"
    before = document.read_text(encoding="utf-8") if document.exists() else HEAD
    after, found = re.subn(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _: block, before, flags=re.DOTALL)
    if not found:
        after = f"{before.rstrip()}\n\n## {name}\n\n{block}\n"
    document.parent.mkdir(parents=True, exist_ok=True)
    write_text(document, after)
