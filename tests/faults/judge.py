"""What a command may do with a file that is not as it should be, and what is a deviation."""

import hashlib
from pathlib import Path

from tests.faults.server import TIMED_OUT, Ended

MOST_MEMORY = 1 << 30
MOST_SECONDS = 30


def tree(folder: Path) -> dict[str, str]:
    """Every file below a folder and the hash of its bytes."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


def deviation(ended: Ended, before: dict[str, str], after: dict[str, str], *, names: str = "") -> str | None:
    """Why an ending is none that a user should see; None where it is well.

    Args:
        ended: How the command ended.
        before: The folder's `tree` before it.
        after: After it.
        names: What the sentence of a refusal must say, such as the file's name.

    Returns:
        The kind of deviation, in a few words.
    """
    last = (ended.err.strip().splitlines() or [""])[-1][:150]
    if ended.code == TIMED_OUT:
        return "time-out"
    if ended.code < 0:
        return f"killed by signal {-ended.code}"
    if "Traceback" in ended.err:
        return f"traceback: {last}"
    if ended.code == 1 and "error: training diverged" in ended.err and ended.err.count("\n") == 1:
        return None  # a number in range that is no good: the truth, in one sentence
    if ended.code not in (0, 2):
        return f"exit code {ended.code}: {last}"
    if ended.code == 0:
        return f"says beside success: {last}" if ended.err else None
    if ended.peak > MOST_MEMORY:
        return f"{ended.peak / 2**30:.1f} GiB for a refusal"
    if ended.err.count("\n") != 1 or not ended.err.startswith("error: "):
        return f"no single sentence: {last}"
    if names not in ended.err:
        return f"the sentence does not name {names}: {last}"
    if before != after:
        changed = [name for name in {**before, **after} if before.get(name) != after.get(name)]
        return f"left behind or changed: {', '.join(sorted(changed)[:3])}"
    return None
