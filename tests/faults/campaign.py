"""Runs tries and counts deviations: python -m tests.faults.campaign [--most N] [--only TEXT] [--table FILE]."""

import argparse
import random
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.faults import world
from tests.faults.faults import same_content
from tests.faults.judge import deviation, tree
from tests.faults.kinds import KINDS, PAGE, Kind
from tests.faults.server import Server

BEGIN, END = "<!-- faults: begin -->", "<!-- faults: end -->"


@dataclass(frozen=True)
class Try:
    """One try and why it deviates; None where it does not."""

    kind: str
    fault: str
    why: str | None


def tries(server: Server, made: Path, kind: Kind, *, most: int, seed: int = 0) -> Iterator[Try]:
    """A seeded sample of a kind's tries, all where there are no more than `most`."""
    every = list(kind.faults(made / kind.file))
    chosen = every if len(every) <= most else random.Random(f"{seed} {kind.name}").sample(every, most)
    here, spoiled = made.parent / "spoiled", made.parent / "spoiled-file"
    for fault, spoil in chosen:
        folder = world.copied(made, here)
        spoil(folder / kind.file)
        shutil.copy(folder / kind.file, spoiled)
        before = tree(folder)
        ended = server.run(*kind.command, folder=folder)
        names = Path(kind.file).name if kind.names else ""
        why = deviation(ended, before, tree(folder), names=names)
        if why is None and ended.code == 0 and kind.product == PAGE:
            same = (folder / PAGE).read_bytes() == (made / PAGE).read_bytes()
            why = None if same else "a changed page"
        elif why is None and ended.code == 0 and kind.product:
            why = None if same_content(spoiled, made / kind.file) else "went on with changed numbers"
        yield Try(kind.name, fault, why)


def table(rows: Sequence[tuple[str, int, int]]) -> str:
    """The rows of docs/reliability.md: kind, tries, deviations, and their sums."""
    lines = ["| kind | tries | deviations |", "|---|---:|---:|", *(f"| {k} | {n:,} | {d:,} |" for k, n, d in rows)]
    return "\n".join([*lines, f"| all | {sum(n for _, n, _ in rows):,} | {sum(d for *_, d in rows):,} |"])


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the campaign, says what deviated, and writes the table where it is asked to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--most", type=int, default=10**6, help="tries of a kind")
    parser.add_argument("--only", default="", help="kinds whose name holds this")
    parser.add_argument("--world", type=Path, help="folder to keep the spoiled files in")
    parser.add_argument("--table", type=Path, help="document whose table is replaced")
    arguments = parser.parse_args(argv)
    server, rows = Server(), list[tuple[str, int, int]]()
    with tempfile.TemporaryDirectory() as there:
        made = Path(arguments.world or there) / "world"
        if not made.exists():
            made.mkdir(parents=True)
            world.build(server, made)
        for kind in KINDS:
            if arguments.only not in kind.name:
                continue
            done = list(tries(server, made, kind, most=arguments.most))
            wrong = [one for one in done if one.why]
            rows.append((kind.name, len(done), len(wrong)))
            print(f"{kind.name}: {len(done)} tries, {len(wrong)} deviations", flush=True)
            for why, count in Counter(one.why for one in wrong).most_common(12):
                first = next(one.fault for one in wrong if one.why == why)
                print(f"    {count:4d} × {why}   [{first}]", flush=True)
    server.close()
    if arguments.table is not None:
        head, _, rest = arguments.table.read_text().partition(BEGIN)
        arguments.table.write_text(f"{head}{BEGIN}\n{table(rows)}\n{END}{rest.partition(END)[2]}")


if __name__ == "__main__":
    main()
