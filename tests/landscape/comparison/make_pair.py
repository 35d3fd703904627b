"""Makes the small files that sentences of a page are checked against: `python -m tests.landscape.comparison.make_pair`.

They are measured for real: two networks of `test_twins`, trained without and with weight decay, each at its own losses
and at the other's. They lie in the repository compressed, in less than 200 kB each.
"""

from __future__ import annotations

import lzma
import tempfile
from pathlib import Path

from tests.landscape.comparison.test_twins import decayed, lift, measured

PAIR = Path(__file__).resolve().parents[2] / "data" / "pair"
NAMES = ("plain", "decayed")


def unpacked(folder: Path) -> tuple[Path, ...]:
    """The files as they were measured, in a folder."""
    files = tuple(folder / name / "landscape.h5" for name in NAMES)
    for name, file in zip(NAMES, files, strict=True):
        file.parent.mkdir()
        file.write_bytes(lzma.decompress((PAIR / f"{name}.h5.xz").read_bytes()))
    return files


def main() -> None:
    """Writes the files."""
    networks = decayed()
    with tempfile.TemporaryDirectory() as folder:
        files = [measured(network, Path(folder) / name) for network, name in zip(networks, NAMES, strict=True)]
        for network, file, other in zip(networks, files, reversed(files), strict=True):
            lift(network, file, other)
        for name, file in zip(NAMES, files, strict=True):
            (PAIR / f"{name}.h5.xz").write_bytes(lzma.compress(file.read_bytes(), preset=9 | lzma.PRESET_EXTREME))


if __name__ == "__main__":
    main()
