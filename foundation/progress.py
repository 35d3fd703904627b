"""Progress of long work: a bar with time left on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import os
import sys
import time

from tqdm import tqdm

from foundation import endings

LINE_EVERY = 10.0  # seconds between plain log lines


class Progress:
    """Counts units of work, which should take equal times: what is left is told by them.

    Rank 0 alone speaks, to stderr, so that stdout holds results only.

    Args:
        label: What is being worked on.
        total: Units of work in all, or None when it cannot be known beforehand.
        unit: The name of one unit, such as `"point"`.
        quiet: Say nothing, for a caller that is no command.
    """

    def __init__(self, label: str, total: int | None, unit: str, *, quiet: bool = False) -> None:
        self._label, self._total, self._unit = label, total, unit
        self._done = 0
        self._started = self._said = time.monotonic()
        speaks = os.environ.get("RANK", "0") == "0" and not quiet
        self._lines = speaks and not sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            desc=label,
            unit=f" {unit}s",
            unit_scale=True,
            disable=not (speaks and sys.stderr.isatty()),
            dynamic_ncols=True,
        )

    def advance(self, units: int = 1, note: str = "") -> None:
        """Adds finished units and, now and then, says where the work stands.

        Args:
            units: How many were finished.
            note: A few words on the latest unit.
        """
        endings.look()
        self._done += units
        if note:
            self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(units)
        now = time.monotonic()
        if self._lines and now - self._said >= LINE_EVERY:
            self._said = now
            of = f" of {self._total:,}" if self._total else ""
            left = ""
            if self._total and self._done:
                left = f", {(now - self._started) / self._done * (self._total - self._done):.0f} s left"
            print(f"{self._label}: {self._done:,}{of} {self._unit}s{left} {note}".rstrip(), file=sys.stderr, flush=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.close()
