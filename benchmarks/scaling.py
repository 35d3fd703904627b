"""`python -m benchmarks.scaling`: one measurement by two processes of a thread each, beside one process."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from foundation.command import Parser, run
from foundation.errors import InputError, LandscapeError

PROCESSORS = 2
WAYS = {"one process, 1 thread": (1, 1), "one process, 2 threads": (1, 2), "two processes, 1 thread each": (2, 1)}
"""Processes and threads of each."""


def build_parser() -> Parser:
    """The benchmark's arguments."""
    parser = Parser(
        "benchmarks.scaling",
        "Times one measurement by one process and by two on the same two processors; prints one JSON object.",
        "--ckpt runs/bgp/checkpoint.pt --analysis hessian --turns 3",
    )
    parser.add_argument("--ckpt", type=Path, required=True, metavar="FILE", help="what is measured")
    parser.add_argument("--analysis", default="hessian", choices=("hessian", "sharpness", "surface"), help="how")
    parser.add_argument("--subsets", metavar="A,B", help="of it (default: every class and group)")
    parser.add_argument("--turns", type=int, default=3, help="medians are over them; ways take turns in each")
    return parser


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Runs the benchmark."""
    run(_command, build_parser(), argv)


def _command(arguments: argparse.Namespace) -> None:
    processors = sorted(os.sched_getaffinity(0))[:PROCESSORS]
    if len(processors) < PROCESSORS:
        raise InputError(f"this process may use {len(processors)} processor: two are compared with one")
    os.sched_setaffinity(0, processors)  # what is started here has no more, and two ranks take a thread each
    named = ["--ckpt", str(arguments.ckpt), "--device", "cpu"]
    named += ["--subsets", arguments.subsets] if arguments.subsets else []
    seconds: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(arguments.turns):
        for way, (processes, threads) in WAYS.items():
            seconds[way].append(_seconds(arguments.analysis, named, processes, threads))
    median = {way: statistics.median(values) for way, values in seconds.items()}
    one, threaded, two = median.values()
    told = {
        "analysis": arguments.analysis,
        "seconds": {way: round(value, 3) for way, value in median.items()},
        "speedup_dealt": round(one / two, 3),
        "speedup_dealt_over_two_threads": round(threaded / two, 3),
        "turns": arguments.turns,
    }
    print(json.dumps(told))


def _seconds(analysis: str, named: Sequence[str], processes: int, threads: int) -> float:
    """What the command says it took, from the meeting of its processes on; not what loading libraries took."""
    start = ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"] if processes > 1 else []
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, *start, "-m", f"landscape.{analysis}", *named, "--json"]
        done = subprocess.run(
            [*command, "--out", str(Path(folder) / "landscape.h5")],
            env={**os.environ, "OMP_NUM_THREADS": str(threads)}, capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise LandscapeError(f"{' '.join(command)} failed: {(done.stderr.splitlines() or ['it said nothing'])[0]}")
    return float(json.loads(done.stdout)["seconds"])


if __name__ == "__main__":
    main()
