"""Finished units of work on their way to a result file: a folder with one small file each.

A unit is written to a temporary name, flushed to disk and renamed, so that a kill at any moment leaves whole files
only, on network file systems too, and several processes may write side by side. One growing HDF5 file was tried: a kill
inside a flush left 5 to 13 % of them unreadable.
"""

from __future__ import annotations

import hashlib
import io
import json
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from foundation.errors import InputError, LandscapeError
from foundation.files import replacing
from landscape.files.contents import Contents

Step = tuple[str, tuple[Any, ...]]
"""A method of `Contents` and its arguments."""


@dataclass(frozen=True)
class Head:
    """What the units of a folder are parts of.

    Attributes:
        analysis: The analysis, the first part of the group's path.
        name: Of the measurement, the second part.
        checkpoint_sha256: Of the measured checkpoint.
        config: What makes the measurement the thing it is; JSON types.
        extent: How much of it is asked for; JSON types.
        numerics: Of the code that measures: `landscape.schema.NUMERICS`.
        table: What is said of every subset, by column.
        provenance: Of the process that began.
    """

    analysis: str
    name: str
    checkpoint_sha256: str
    config: Mapping[str, Any]
    extent: Mapping[str, Any]
    numerics: int
    table: Mapping[str, Sequence[Any]]
    provenance: Mapping[str, Any]

    @property
    def identity(self) -> str:
        """A hash of all that must agree before a unit is accepted; provenance is not among it."""
        known = (self.checkpoint_sha256, self.config, self.extent, self.numerics, self.table)
        return fingerprint({"parts": known})

    @property
    def attributes(self) -> dict[str, Any]:
        """What the measurement's group says of itself."""
        return {
            "analysis": self.analysis,
            "config": self.config,
            "config_sha256": fingerprint(self.config),
            "extent": self.extent,
            "identity": self.identity,
            "numerics": self.numerics,
            "provenance": self.provenance,
        }


class UnitFolder:
    """A folder of finished units, made with the first of them.

    Args:
        path: The folder.

    Attributes:
        path: The folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def heads(self) -> list[Head]:
        """What the units are parts of, the latest begun last: more than one where another extent was asked for."""
        found = []
        for path in sorted(self.path.glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name)):
            try:
                found.append(Head(**json.loads(path.read_bytes())))
            except (ValueError, TypeError):
                raise InputError(f"{str(path)!r} is damaged: move {str(self.path)!r} away and measure again") from None
        return found

    def begin(self, head: Head) -> None:
        """Makes sure that the folder says what its units are parts of."""
        path = self.path / f"{head.identity[:16]}.json"
        if not path.exists():
            self._keep(path, json.dumps(head.__dict__).encode())

    def write(self, head: Head, steps: Sequence[Step], seconds: float) -> None:
        """Keeps a finished unit.

        Args:
            head: What it is a part of.
            steps: What was done to the contents since the last one.
            seconds: Spent on it.
        """
        number = len(list(self.path.glob("*.unit")))  # in the order of one process
        path = self.path / f"{head.identity[:16]}-{number:06d}-{secrets.token_hex(4)}.unit"
        self._keep(path, _encoded(head.identity, steps, seconds))

    def contents(self, head: Head) -> Contents:
        """Everything that the units of a measurement hold.

        Args:
            head: Of the measurement.

        Returns:
            Its contents so far.

        Raises:
            InputError: A unit is damaged or another's.
        """
        contents = Contents(head.table)
        for path in sorted(self.path.glob(f"{head.identity[:16]}-*.unit")):
            for method, arguments in self._read(path, head, contents):
                getattr(contents, method)(*arguments)
        return contents

    def remove(self, heads: Sequence[Head] | None = None) -> None:
        """Removes the folder, or what belongs to some measurements of it."""
        for head in heads or ():
            for path in self.path.glob(f"{head.identity[:16]}*"):
                path.unlink(missing_ok=True)
        if heads is None or not any(self.path.glob("*.json")):
            shutil.rmtree(self.path, ignore_errors=True)

    def _keep(self, path: Path, data: bytes) -> None:
        try:
            self.path.mkdir(exist_ok=True)
            with replacing(path) as temporary:
                temporary.write_bytes(data)
        except OSError as error:
            raise LandscapeError(
                f"{str(path)!r} cannot be written ({error.strerror or error}): what was measured before is kept; free "
                "some space, then the same command continues"
            ) from None

    def _read(self, path: Path, head: Head, contents: Contents) -> Iterator[Step]:
        try:
            content = path.read_bytes()
            if hashlib.sha256(content[32:]).digest() != content[:32]:
                raise ValueError("cut or changed")
            with np.load(io.BytesIO(content[32:]), allow_pickle=False) as arrays:
                about = json.loads(bytes(arrays["about"]))
                if about["identity"] != head.identity:
                    raise ValueError("another's")
                steps = [(method, [_decoded(argument, arrays) for argument in said]) for method, said in about["steps"]]
        except FileNotFoundError:
            raise
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            raise InputError(
                f"{str(path)!r} is damaged: move it away, and the same command measures that part again"
            ) from None
        contents.seconds += about["seconds"]
        yield from ((method, tuple(arguments)) for method, arguments in steps)


def partial_path(file: Path, analysis: str, name: str) -> Path:
    """The folder of a measurement in progress: beside `file`, named after it."""
    return file.with_name(f"{file.stem}.{analysis}.{name}.partial")


def fingerprint(config: Mapping[str, Any]) -> str:
    """The SHA-256 of a configuration, whatever the order of its keys."""
    return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def _encoded(identity: str, steps: Sequence[Step], seconds: float) -> bytes:
    """A unit as bytes: the SHA-256 of the rest, and an npz file."""
    arrays: dict[str, np.ndarray] = {}

    def plain(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[f"a{len(arrays)}"] = value.astype("U") if value.dtype.kind == "O" else value
            return {"array": f"a{len(arrays) - 1}", "text": value.dtype.kind == "O"}
        if isinstance(value, slice):
            return {"slice": [value.start, value.stop, value.step]}
        if isinstance(value, np.integer):
            return int(value)
        if value is Ellipsis:
            return {"slice": None}
        if isinstance(value, tuple):
            return {"tuple": [plain(part) for part in value]}
        return value

    said = [(method, [plain(argument) for argument in arguments]) for method, arguments in steps]
    about = json.dumps({"identity": identity, "seconds": seconds, "steps": said})
    buffer = io.BytesIO()
    np.savez(buffer, about=np.frombuffer(about.encode(), dtype=np.uint8), **arrays)  # type: ignore[arg-type]
    return hashlib.sha256(buffer.getvalue()).digest() + buffer.getvalue()


def _decoded(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    if not isinstance(value, dict):
        return value
    if "array" in value:
        array = arrays[value["array"]]
        return array.astype(object) if value["text"] else array
    if "tuple" in value:
        return tuple(_decoded(part, arrays) for part in value["tuple"])
    return Ellipsis if value["slice"] is None else slice(*value["slice"])
