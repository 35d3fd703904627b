"""Result files altered by tests as a hostile writer would: what they say is sealed again."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import h5py

from foundation.errors import InputError
from landscape.files.safe_read import SEAL, seal


@contextlib.contextmanager
def altered(path: Path | str) -> Iterator[h5py.File]:
    """A landscape file opened for writing; every measurement that had a seal and can be read gets one that fits."""
    with h5py.File(path, "r+") as file:
        yield file
        reseal(file)


def reseal(file: h5py.File) -> None:
    """Seals every measurement again, as far as it can be read."""
    for analysis, groups in file.items():
        for name in groups if isinstance(groups, h5py.Group) else ():
            if isinstance(groups.get(name, getlink=True), h5py.HardLink) and SEAL in groups[name].attrs:
                with contextlib.suppress(InputError, OSError, RuntimeError, ValueError, TypeError, KeyError,
                                         AttributeError):  # fmt: skip
                    seal(groups[name], f"{analysis}/{name}", "it")
