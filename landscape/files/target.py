"""Where a measurement goes, and what makes it the thing it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from foundation.errors import InputError


@dataclass(frozen=True)
class Target:
    """A place in a result file and the identity of what is measured into it.

    Attributes:
        file: The `landscape.h5`; its folder exists.
        name: Of the measurement, the second part of its group's path.
        checkpoint_sha256: Of the checkpoint's bytes; of a network without one, of its weights, class and data.
        config: What makes a measurement of it the thing it is: split, loss, parameters, BN mode, dtype; JSON types.
        provenance: Of this process.
        overwrite: Replace a measurement of the same name and another configuration.

    Raises:
        InputError: The name cannot be part of a group's path and of a file's name, or the file is a folder, a device
            or the like.
    """

    file: Path
    name: str
    checkpoint_sha256: str
    config: Mapping[str, Any]
    provenance: Mapping[str, Any]
    overwrite: bool = False

    def __post_init__(self) -> None:
        if not self.name or set(self.name) & set("/\\ .\0"):
            raise InputError(f"--name {self.name!r} cannot name a measurement: use letters, digits, - and _")
        if self.file.exists() and not self.file.is_file():
            raise InputError(f"{str(self.file)!r} is no ordinary file: name one for the results, such as landscape.h5")
