"""Measurements on their way into a `landscape.h5`, safe against a kill at any moment.

Each finished unit of work is a file of its own in `<result>.<analysis>.<name>.partial/` (`unit_folder`); when the last
one is done the whole group is built, written beside the result and renamed over it (`publish`).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import InputError
from foundation.files import locked
from foundation.ranks import rank
from landscape.files.contents import TABLE
from landscape.files.landscape_file import Measurement, read_landscape, read_unfinished
from landscape.files.publish import publish
from landscape.files.target import Target
from landscape.files.unit_folder import Head, Step, UnitFolder, fingerprint, partial_path
from landscape.schema import NUMERICS, SCHEMA, SCHEMA_VERSION
from landscape.subject.subsets import Subset

_OTHER_NUMERICS = "a measurement of other numerics than this version's"
_AGAIN = "choose another --name, or give --overwrite to replace it"


class Recording:
    """A measurement being written, made by `recording`.

    Attributes:
        resumed: It was begun before: its `status` says what is there.
        previous: A measurement of the same thing with another extent, to continue from, or None.
        extent: How much of it is asked for.
        finished: Whether it was declared whole.
    """

    def __init__(self, folder: UnitFolder, head: Head, *, resumed: bool, previous: Measurement | None) -> None:
        self._folder, self._head = folder, head
        self.contents = folder.contents(head)
        self.extent = head.extent
        self.resumed = resumed
        self.previous = previous
        self.finished = False
        self._steps: list[Step] = []
        self._since = time.monotonic()

    def scale(self, dim: str, values: np.ndarray | Sequence[Any], *, unit: str = "") -> None:
        """Gives the dimension `dim` its coordinates; without this it counts from 0.

        Args:
            dim: The dimension's name, with a path for a nested group.
            values: Its coordinates, (n,).
            unit: Their unit.
        """
        if dim not in self.contents.scales:
            self._do("scale", dim, np.array(values), unit)

    def create(
        self, name: str, *, dims: Sequence[str], shape: Sequence[int], dtype: Any = "f8", fill: Any = np.nan,
        unit: str = "", meaning: str = "",
    ) -> None:  # fmt: skip
        """Makes a dataset filled with `fill`, unless a resumed recording has it already.

        Args:
            name: Its path inside the group.
            dims: One name a dimension; `"subset"` is there from the start.
            shape: Its shape.
            dtype: NumPy's type code; `str` or h5py's for texts.
            fill: What an unmeasured number holds; 0 for integers.
            unit: The unit of its values.
            meaning: A few words for a reader of the file.
        """
        if name in self.contents.datasets:
            return
        code = "str" if dtype == "str" or np.dtype(dtype).kind == "O" else np.dtype(dtype).str
        filled = float(fill) if isinstance(fill, int | float) else 0.0
        self._do("create", name, list(dims), [int(n) for n in shape], code, filled, unit, meaning)

    def write(self, name: str, index: Any, values: Any) -> None:
        """Sets `name[index]`; `flush` makes it durable."""
        self._do("write", name, index, np.array(values))

    def read(self, name: str) -> np.ndarray:
        """The whole dataset or scale as it stands."""
        if name in self.contents.scales:
            return self.contents.scales[name][0]
        return self.contents.datasets[name].values.copy()

    def refresh(self) -> None:
        """Takes up what other ranks have finished since."""
        self.flush()
        self.contents, self.resumed = self._folder.contents(self._head), True

    def note(self, key: str, value: Any) -> None:
        """Says something of the whole measurement; anything but a number or a text is kept as JSON."""
        self._do("note", key, json.dumps(value))

    def noted(self, key: str) -> Any:
        """What `note` said, or None."""
        return self.contents.notes.get(key)

    def flush(self) -> None:
        """Makes all that was written since the last time one finished unit, which survives SIGKILL."""
        seconds = time.monotonic() - self._since
        if self._steps:
            self._folder.write(self._head, self._steps, seconds)
            self.contents.seconds += seconds
            self._steps, self._since = [], time.monotonic()

    def finish(self) -> None:
        """Declares the measurement whole: on leaving the `recording` block it becomes part of the file."""
        self.flush()
        self.finished = True

    def _do(self, method: str, *arguments: Any) -> None:
        getattr(self.contents, method)(*arguments)
        self._steps.append((method, arguments))


@contextlib.contextmanager
def recording(
    target: Target,
    analysis: str,
    *,
    subsets: Sequence[Subset],
    config: Mapping[str, Any] | None = None,
    extent: Mapping[str, Any] | None = None,
) -> Iterator[Recording | None]:
    """Opens a measurement for writing, resuming an interrupted one of the same configuration and extent.

    Args:
        target: The file it becomes part of, its name there and what is measured.
        analysis: The analysis, the first part of the group's path.
        subsets: What is measured.
        config: What else makes this measurement the thing it is, beside the target's; JSON types.
        extent: How much of it is asked for; JSON types.

    Yields:
        The recording; None when the file holds this measurement already, for these subsets or more.

    Raises:
        InputError: The name is taken by another configuration or holds subsets that would be lost, the file belongs
            to another checkpoint, an unfinished part cannot be read, or another process is at work on it.
    """
    file, key = target.file, f"{analysis}/{target.name}"
    head = _head(target, analysis, subsets, config, extent)
    folder = UnitFolder(partial_path(file, analysis, target.name))
    busy = f"another process is measuring {key} of {str(file)!r}: wait for it or choose another --name"
    # An evaluation takes moments, and every analysis begins with it: whoever comes second waits and finds it there.
    with locked(folder.path.with_suffix(".lock"), busy, wait=analysis == "evaluation"):
        previous, old = _in_file(target, head), folder.path.with_suffix(".partial.h5")
        if previous is not None and _holds(previous, head):
            folder.remove()  # left by a kill between the last two steps
            yield None
            return
        if previous is not None and previous.attributes.get("numerics", 1) != NUMERICS:
            previous = None
        _refuse_version_1(target, old)
        previous = previous or _begun(target, head, folder)
        resumed = head.identity in [known.identity for known in folder.heads()]
        folder.begin(head)
        record = Recording(folder, head, resumed=resumed, previous=previous)
        try:
            yield record
        finally:
            record.flush()
        if record.finished:
            root = {
                "schema": SCHEMA, "schema_version": SCHEMA_VERSION, "checkpoint_sha256": head.checkpoint_sha256,
                "provenance": json.dumps(head.provenance),
            }  # fmt: skip
            publish(file, key, record.contents, head.attributes, root)
            folder.remove()
            old.unlink(missing_ok=True)


@contextlib.contextmanager
def assisting(
    target: Target,
    analysis: str,
    *,
    subsets: Sequence[Subset],
    config: Mapping[str, Any] | None = None,
    extent: Mapping[str, Any] | None = None,
) -> Iterator[Recording]:
    """Opens a measurement that rank 0 is recording, for units that another rank adds to it.

    Args:
        target: As of `recording`.
        analysis: Likewise.
        subsets: Likewise.
        config: Likewise.
        extent: Likewise.

    Yields:
        The recording as rank 0 has begun it.

    Raises:
        InputError: It is not to be seen from here.
    """
    head = _head(target, analysis, subsets, config, extent)
    folder = UnitFolder(partial_path(target.file, analysis, target.name))
    if head.identity not in [known.identity for known in folder.heads()]:
        raise InputError(
            f"rank {rank()} does not find in {str(folder.path)!r} what rank 0 has begun: give all ranks the same files "
            "and an --out on a file system that they share"
        )
    record = Recording(folder, head, resumed=True, previous=None)
    try:
        yield record
    finally:
        record.flush()


def _head(
    target: Target,
    analysis: str,
    subsets: Sequence[Subset],
    config: Mapping[str, Any] | None,
    extent: Mapping[str, Any] | None,
) -> Head:
    return Head(
        analysis, target.name, target.checkpoint_sha256, {**target.config, **(config or {})}, dict(extent or {}),
        NUMERICS, table_of(subsets), target.provenance,
    )  # fmt: skip


def table_of(subsets: Sequence[Subset]) -> dict[str, list[str | int]]:
    """What a measurement says of its subsets, by column: see `TABLE`."""
    columns = {"subset": "name", **{column: column for column in TABLE[1:]}}
    values = {column: [getattr(subset, key) for subset in subsets] for column, key in columns.items()}
    return {column: [v if isinstance(v, str) else int(v) for v in listed] for column, listed in values.items()}


def _in_file(target: Target, head: Head) -> Measurement | None:
    """The finished measurement of that name, where it may be continued or is all that was asked for."""
    file, key = target.file, f"{head.analysis}/{head.name}"
    if not file.exists():
        return None
    landscape = read_landscape(file, unfinished=False)
    if landscape.checkpoint_sha256 != head.checkpoint_sha256:
        raise InputError(f"{str(file)!r} holds measurements of another checkpoint: choose another --out")
    found = landscape.get(head.analysis, head.name)
    if found is None or target.overwrite:
        return None
    if fingerprint(found.config) != fingerprint(head.config):
        raise InputError(f"{key} in {str(file)!r} has {_difference(found.config, head.config)}: {_AGAIN}")
    lost = [name for name in found.subset if name not in head.table["subset"]]
    if lost and not _holds(found, head):
        raise InputError(
            f"{key} in {str(file)!r} also holds {lost[0]} and {len(lost) - 1} other subsets: name them too, or choose "
            "another --name"
        )
    return found


def _holds(found: Measurement, head: Head) -> bool:
    """Whether a finished measurement is all that was asked for."""
    return found.extent == head.extent and set(head.table["subset"]) <= set(found.subset)


def _begun(target: Target, head: Head, folder: UnitFolder) -> Measurement | None:
    """An unfinished measurement of the same thing with another extent."""
    for begun in folder.heads():
        same = begun.checkpoint_sha256 == head.checkpoint_sha256 and begun.numerics == head.numerics
        if not same or fingerprint(begun.config) != fingerprint(head.config):
            if not target.overwrite:
                other = begun.numerics != head.numerics
                said = _OTHER_NUMERICS if other else _difference(begun.config, head.config)
                raise InputError(f"{str(folder.path)!r} is unfinished with {said}: {_AGAIN}")
            folder.remove([begun])
    others = [begun for begun in folder.heads() if begun.identity != head.identity]
    return read_unfinished(folder, others[-1]) if others else None


def _refuse_version_1(target: Target, path: Path) -> None:
    """An unfinished file of the first schema version, one growing HDF5 file, is of numerics that are no more."""
    if path.exists() and not target.overwrite:
        raise InputError(f"{str(path)!r} is unfinished with {_OTHER_NUMERICS}: {_AGAIN}")


def _difference(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> str:
    for key in sorted({*theirs, *ours}):
        if theirs.get(key) != ours.get(key):
            return f"{key} {theirs.get(key)!r}, not {ours.get(key)!r}"
    return "been measured on another checkpoint"
