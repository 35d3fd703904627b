"""Whether a result file can be believed: `landscape.verify`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from foundation.errors import InputError, LandscapeError
from foundation.files import sha256_of
from landscape.files.checkpoint import Opened, open_checkpoint
from landscape.files.landscape_file import Landscape, Measurement, large_arrays, read_landscape
from landscape.recording.check import CheckReport, Finding
from landscape.schema import NUMERICS
from landscape.verification.consistency import contradictions
from landscape.verification.recomputation import computed_again

MOST_SAID = 3
"""Contradictions of one measurement that are said."""


def verify(
    *files: str | Path,
    checkpoint: str | Path | None = None,
    rows: int = 2,
    seed: int = 0,
    device: torch.device | str = "cpu",
    data_dir: Path | None = None,
) -> CheckReport:
    """Checks result files: structure, checksums, what their numbers say of each other, and some of them again.

    Args:
        *files: Each a `landscape.h5`.
        checkpoint: Compute a random sample again from this checkpoint of `training`; whose file they all are.
        rows: How many subsets of each measurement, and four times as many cells of a surface.
        seed: Of the sample.
        device: Where to compute.
        data_dir: Where the checkpoint's data set lies, when it is not embedded.

    Returns:
        A finding for every measurement, and for every file that cannot be read.

    Raises:
        InputError: No file was named, or the checkpoint cannot be opened.
    """
    if not files:
        raise InputError("no file was named: give a landscape.h5 or several")
    if rows < 1:
        raise InputError(f"--rows {rows} is too few: give 1 or more")
    findings: list[Finding] = []
    notes: list[str] = []
    for file in map(Path, files):
        try:
            landscape = read_landscape(file, unfinished=False)
        except LandscapeError as error:
            findings.append(Finding(str(file), False, str(error)))
            continue
        opened = _opener(checkpoint, device, data_dir)
        for known in landscape.measurements:
            findings.append(_finding(landscape, known, opened, rows, np.random.default_rng(seed)))
            numerics = known.attributes.get("numerics", 1)
            if numerics != NUMERICS:
                notes.append(f"{findings[-1].what} is of numerics {numerics}, today's are {NUMERICS}: less is checked")
    return CheckReport(tuple(findings), tuple(notes))


Opener = Callable[[Landscape, Measurement], Opened | None]


def _opener(checkpoint: str | Path | None, device: torch.device | str, data_dir: Path | None) -> Opener:
    """Opens a checkpoint for a measurement: once for all of the same split, parameters, loss and precision."""
    known: dict[tuple[object, ...], Opened] = {}

    def opened(landscape: Landscape, measurement: Measurement) -> Opened | None:
        if checkpoint is None:
            return None
        if sha256_of(Path(checkpoint)) != landscape.checkpoint_sha256:
            raise InputError(f"{str(landscape.path)!r} is of another checkpoint than --ckpt {str(checkpoint)!r}")
        config = measurement.config
        said = {key: str(config[key]) for key in ("split", "loss", "batch_norm", "dtype") if key in config}
        params = [] if config.get("params") == ["*"] else config.get("params", [])
        key = (*said.values(), *params)
        if key not in known:
            known[key] = open_checkpoint(
                Path(checkpoint), **said, params=params or None, device=device, data_dir=data_dir
            )  # fmt: skip
        return known[key]

    return opened


def _finding(
    landscape: Landscape, known: Measurement, opener: Opener, rows: int, generator: np.random.Generator
) -> Finding:
    what = f"{landscape.path}: {known.analysis}/{known.name}"
    try:
        for _ in large_arrays(landscape.path, f"{known.analysis}/{known.name}"):
            pass  # read for their checksums
    except LandscapeError as error:
        return Finding(what, False, str(error))
    wrong, count = contradictions(known), 0
    if not wrong and (opened := opener(landscape, known)) is not None:
        count, wrong = computed_again(opened, landscape, known, rows, generator)
    if wrong:
        more = f"; and {len(wrong) - MOST_SAID} more" if len(wrong) > MOST_SAID else ""
        return Finding(what, False, "; ".join(wrong[:MOST_SAID]) + more)
    again = f"; {count} numbers computed again agree" if count else ""
    return Finding(what, True, f"whole and consistent, {len(known.subset)} subsets{again}")
