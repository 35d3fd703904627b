"""Ways to spoil a file: each yields what it does, in a few words, and a function that does it to a path."""

import copy
import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import yaml

from tests.landscape.altered import reseal

Fault = tuple[str, Callable[[Path], None]]
ABSENT = object()
DEEP = json.loads("[" * 200 + "]" * 200)
VALUES = (ABSENT, None, 0, -1, 2**63, 1e300, math.nan, math.inf, -math.inf, "", True, [], {}, [1, 2], DEEP,
          "<img src=x onerror=alert(1)>\n=cmd()", "../../etc/passwd", "x" * 100_000)  # fmt: skip


def shown(value: object) -> str:
    """A value in a few letters."""
    return "absent" if value is ABSENT else "deep" if value is DEEP else repr(value)[:24]


def paths(content: Any, at: tuple = ()) -> Iterator[tuple]:
    """Where the values of nested dicts and lists lie; of a list its first item only."""
    listed = enumerate(content[:1]) if isinstance(content, list) else ()
    for key, value in content.items() if isinstance(content, dict) else listed:
        yield (*at, key)
        yield from paths(value, (*at, key))


def replaced(content: Any, at: tuple, value: Any) -> Any:
    """A copy with another value at a place."""
    made = copy.deepcopy(content)
    holder = made
    for key in at[:-1]:
        holder = holder[key]
    if value is ABSENT:
        del holder[at[-1]]
    else:
        holder[at[-1]] = value
    return made


def _each_value(content: Any, write: Callable[[Path, Any], None]) -> Iterator[Fault]:
    for at in paths(content):
        for value in VALUES:
            yield (
                f"{'.'.join(map(str, at))} = {shown(value)}",
                lambda path, at=at, value=value: write(path, replaced(content, at, value)),
            )
    for value in (None, 3, [], "text", DEEP):
        yield f"all = {shown(value)}", lambda path, value=value: write(path, value)


def json_values(path: Path) -> Iterator[Fault]:
    """Every field of a JSON file with every value."""
    return _each_value(json.loads(path.read_text()), lambda to, made: to.write_text(json.dumps(made)))


def line_values(path: Path) -> Iterator[Fault]:
    """Every field of the first line of a file of JSON lines, with every value."""
    first, *rest = path.read_text().splitlines()
    return _each_value(json.loads(first), lambda to, made: to.write_text("\n".join([json.dumps(made), *rest]) + "\n"))


def yaml_values(path: Path) -> Iterator[Fault]:
    """Every field of a YAML file with every value."""
    return _each_value(
        yaml.safe_load(path.read_text()), lambda to, made: to.write_text(yaml.safe_dump(made, allow_unicode=True))
    )


def tensor_values(path: Path) -> Iterator[Fault]:
    """Every plain value of a torch file with every value, and every tensor with tensors of other kinds."""
    content = torch.load(path, weights_only=True)
    yield from _each_value(content, lambda to, made: torch.save(made, to))
    for at in paths(content):
        found = content
        for key in at:
            found = found[key]
        if not isinstance(found, torch.Tensor):
            continue
        others = {
            "NaN": found.double() * math.nan, "complex": found.to(torch.complex64),
            "longer": torch.cat([found.flatten()] * 3),
            "scalar": torch.tensor(1.0), "empty": torch.empty(0), "bool": found.bool(), "half": found.half(),
            "sparse": torch.ones(3, 3).to_sparse(), "expanded": torch.zeros(1).expand(1 << 33),
            "meta": torch.empty(2, device="meta"),
        }  # fmt: skip
        for name, other in others.items():
            yield (
                f"{'.'.join(map(str, at))} = {name} tensor",
                lambda to, at=at, other=other: torch.save(replaced(content, at, other), to),
            )


def cuts(path: Path, count: int = 60) -> Iterator[Fault]:
    """The file cut short at evenly spaced places."""
    size = path.stat().st_size
    for end in sorted({size * n // count for n in range(count)}):
        yield f"cut to {end} of {size} bytes", lambda to, end=end: to.write_bytes(to.read_bytes()[:end])


def flips(path: Path, count: int = 150) -> Iterator[Fault]:
    """One bit flipped, at seeded places of the file."""
    return _flips(np.random.default_rng(0).integers(path.stat().st_size, size=count))


def flipped_numbers(path: Path, count: int = 400) -> Iterator[Fault]:
    """One bit flipped, at seeded places of what is stored of numbers."""
    places: list[np.ndarray] = []
    with h5py.File(path) as file:
        for place in _items(file):
            item = file[place]
            if isinstance(item, h5py.Dataset) and item.dtype.kind in "fiu" and item.chunks:
                for k in range(item.id.get_num_chunks()):
                    chunk = item.id.get_chunk_info(k)
                    places.append(np.arange(chunk.byte_offset, chunk.byte_offset + chunk.size))
    return _flips(np.random.default_rng(1).choice(np.concatenate(places), size=count, replace=False))


def _flips(places: np.ndarray) -> Iterator[Fault]:
    def flip(to: Path, at: int, bit: int) -> None:
        content = bytearray(to.read_bytes())
        content[at] ^= 1 << bit
        to.write_bytes(content)

    bits = np.random.default_rng(2).integers(8, size=len(places))
    for at, bit in zip(places.tolist(), bits.tolist(), strict=True):
        yield f"bit {bit} of byte {at} flipped", lambda to, at=at, bit=bit: flip(to, at, bit)


def hdf5_attributes(path: Path) -> Iterator[Fault]:
    """Every attribute of an HDF5 file, and every field of those in JSON, with every value."""
    found: list[tuple[str, str, Any]] = []
    with h5py.File(path) as file:
        for place in ["/", *_items(file)]:
            found += [(place, name, value) for name, value in file[place].attrs.items()
                      if not name.isupper() and not name.startswith("_")]  # fmt: skip

    def put(to: Path, place: str, name: str, value: Any) -> None:
        with h5py.File(to, "r+") as file:
            if value is ABSENT:
                del file[place].attrs[name]
            else:
                plain = isinstance(value, int | float | str) and abs(value if not isinstance(value, str) else 0) < 2**63
                file[place].attrs[name] = h5py.Empty("f") if value is None else value if plain else json.dumps(value)
            reseal(file)

    for place, name, given in found:
        for value in VALUES:
            if not (isinstance(value, str) and len(value) > 60_000):
                yield f"{place}@{name} = {shown(value)}", lambda to, p=place, n=name, v=value: put(to, p, n, v)
        if name in ("config", "extent", "provenance", "dims", "plan"):
            for label, change in _each_value(json.loads(given), lambda box, made: box.append(made)):  # type: ignore
                box: list = []
                change(box)  # type: ignore[arg-type]
                text = json.dumps(box[0])
                if len(text) < 60_000:
                    yield f"{place}@{name}: {label}", lambda to, p=place, n=name, v=text: put(to, p, n, v)


def hdf5_datasets(path: Path) -> Iterator[Fault]:
    """Every data set of an HDF5 file absent, of another shape, kind or content, a link, a bomb."""
    with h5py.File(path) as file:
        places = [place for place in _items(file) if isinstance(file[place], h5py.Dataset)]

    def put(to: Path, place: str, change: Callable[[h5py.Group, str, np.ndarray], None]) -> None:
        with h5py.File(to, "r+") as file:
            values, parent, name = file[place][()], file[place].parent, place.rsplit("/", 1)[-1]
            attributes = {k: v for k, v in file[place].attrs.items() if not k.isupper()}
            del parent[name]
            change(parent, name, np.asarray(values))
            if name in parent and isinstance(parent.get(name, getlink=True), h5py.HardLink):
                parent[name].attrs.update(attributes)
            reseal(file)

    def make(values: Callable[[np.ndarray], Any]) -> Callable[[h5py.Group, str, np.ndarray], None]:
        return lambda parent, name, old: parent.create_dataset(name, data=values(old)) and None

    def link(made: object) -> Callable[[h5py.Group, str, np.ndarray], None]:
        return lambda parent, name, old: parent.__setitem__(name, made)

    kinds: dict[str, Callable[[h5py.Group, str, np.ndarray], None]] = {
        "absent": lambda parent, name, old: None,
        "one longer": make(lambda old: np.concatenate([np.atleast_1d(old)] * 2)),
        "one shorter": make(lambda old: np.atleast_1d(old)[:-1]),
        "a scalar": make(lambda old: 1.0),
        "one dimension more": make(lambda old: old[None]),
        "texts": make(lambda old: np.full(old.shape, "x", dtype=object)),
        "hostile texts": make(lambda old: np.full(old.shape, "</script><b>\u202e\0"[:-1], dtype=object)),
        "complex": make(lambda old: np.full(old.shape, 1j)),
        "NaN": make(lambda old: np.full(old.shape, np.nan)),
        "infinite": make(lambda old: np.full(old.shape, np.inf)),
        "-1": make(lambda old: np.full(old.shape, -1)),
        "1e300": make(lambda old: np.full(old.shape, 1e300)),
        "2^63": make(lambda old: np.full(old.shape, 2**63, dtype="u8")),
        "a group": lambda parent, name, old: parent.create_group(name) and None,
        "a bomb": lambda parent, name, old: parent.create_dataset(
            name, shape=(1 << 40,), dtype="f8", chunks=(1 << 20,), compression="gzip") and None,
        "a square bomb": lambda parent, name, old: parent.create_dataset(
            name, shape=tuple(n * 4_000_000 for n in old.shape), dtype="f4", chunks=True) and None,
        "no values": lambda parent, name, old: parent.create_dataset(name, data=h5py.Empty("f8")) and None,
        "a compound": make(lambda old: np.zeros(old.shape, dtype=[("a", "f8"), ("b", "i4")])),
        "a soft link": link(h5py.SoftLink("/nowhere")),
        "a loop": link(h5py.SoftLink(".")),
        "an external link": link(h5py.ExternalLink("/dev/zero", "/x")),
    }  # fmt: skip
    for place in places:
        for name, change in kinds.items():
            yield f"{place} is {name}", lambda to, p=place, c=change: put(to, p, c)


def _items(file: h5py.File) -> list[str]:
    found: list[str] = []
    file.visit(found.append)
    return found


def same_content(one: Path, two: Path) -> bool:
    """Whether two torch files hold the same, whatever lies between their parts."""
    a, b = (torch.load(path, weights_only=True) for path in (one, two))

    def same(x: Any, y: Any) -> bool:
        if isinstance(x, torch.Tensor):
            return isinstance(y, torch.Tensor) and x.dtype == y.dtype and torch.equal(x, y)
        if isinstance(x, dict):
            return isinstance(y, dict) and list(x) == list(y) and all(same(x[key], y[key]) for key in x)
        if isinstance(x, list | tuple):
            return type(x) is type(y) and len(x) == len(y) and all(map(same, x, y))
        return type(x) is type(y) and repr(x) == repr(y)

    return same(a, b)
