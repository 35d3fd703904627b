"""Files that are whole or absent: written to a temporary name, flushed to disk, renamed."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foundation.endings import uninterrupted
from foundation.errors import InputError

_NAMED = 60  # letters of a file's name in that of its temporary file, which must not be too long where the name is not


@contextlib.contextmanager
def replacing(path: Path, *, sync_folder: bool = True) -> Iterator[Path]:
    """Yields a temporary path beside `path`; on success it takes `path`'s place, on failure it vanishes.

    A symbolic link stays one, and the file that it names is replaced; a replaced file's permissions stay.

    Args:
        path: The final file; its folder must exist.
        sync_folder: Whether the new name survives a power cut from now on; False where another file of the folder is
            written next.

    Yields:
        The temporary path to write to.
    """
    path = path.resolve()
    with uninterrupted():
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:_NAMED]}.", suffix=".tmp")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            # mkstemp makes files private (0600); a new result file gets the permissions any new file would have.
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(stat.S_IMODE(path.stat().st_mode) if path.exists() else 0o666 & ~umask)
            with temporary.open("rb") as written:
                os.fsync(written.fileno())
            temporary.replace(path)
            if sync_folder:
                _sync_folder(path.parent)
        finally:
            with contextlib.suppress(OSError):  # the folder may be gone, and that is the error to tell
                temporary.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Makes a rename inside a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_text(path: Path, text: str) -> None:
    """Writes `text` to `path` in one step, UTF-8."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Writes `value` to `path` as indented JSON in one step."""
    write_text(path, json.dumps(value, indent=2, sort_keys=False) + "\n")


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_writable_folder(folder: Path, option: str) -> None:
    """Makes `folder` and proves that a file can be written in it, before long work begins.

    Args:
        folder: The folder that results will go to.
        option: The command's option that named it, for the sentence.

    Raises:
        InputError: It cannot be made or written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = error.strerror or str(error)
        raise InputError(
            f"{option} {str(folder)!r} cannot be written ({reason}): name a folder you may write"
        ) from None


@contextlib.contextmanager
def locked(path: Path, busy: str, *, wait: bool = False) -> Iterator[None]:
    """Holds an advisory lock on the file `path` while the block runs, and removes that file afterwards.

    Args:
        path: The lock file.
        busy: The sentence for a second process.
        wait: Wait for the other process instead of refusing.

    Yields:
        Nothing; the lock is held.

    Raises:
        InputError: Another process holds the lock and `wait` is false.
    """
    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            file.close()
            raise InputError(busy) from None
        # The former holder may have removed the file between our open and our lock: then ours guards nothing.
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            break
        file.close()
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        file.close()
