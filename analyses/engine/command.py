"""What every study's command does: train and measure what is missing, answer, write tables and pages."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import NoReturn

from analyses import executor
from analyses.engine.answers import Answer, answer
from analyses.engine.numbers import collect
from analyses.engine.parts import Layout, Part
from analyses.engine.study import Study, quick
from analyses.engine.tables import answers_table
from analyses.engine.write import write_results
from analyses.executor import Cluster, Command, Failure
from foundation.command import Parser, named_values
from foundation.command import run as run_command
from foundation.errors import InputError, LandscapeError, one_of
from foundation.files import require_writable_folder, write_text

Carry = Callable[[Sequence[Command]], dict[str, Failure]]
"""Runs commands and tells failures by name."""


def carry_out(
    study: Study,
    out: Path,
    carry: Carry,
    *,
    seeds: int,
    variants: Sequence[str],
    is_quick: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> tuple[Answer, ...]:
    """Makes the parts that are missing, then tables and pages of all that is there.

    Args:
        study: The study; a quick one where `is_quick`.
        out: The folder of all studies.
        carry: Runs the commands.
        seeds: How many seeds, from 0.
        variants: Names of the variants that are wanted.
        is_quick: Whether nothing may be concluded.
        say: Called with a line of text before commands are run.

    Returns:
        The answers.

    Raises:
        InputError: A command refused its input.
        LandscapeError: A command failed.
    """
    layout = Layout(study, out)
    while missing := _missing(layout, seeds, variants):
        say(f"{study.name}: {len(missing)} of {len(layout.parts(seeds, variants))} commands are to be run")
        failures = carry([part.command for part in missing.values()])
        _note_refusals(missing, failures)
        if not failures:
            break
    answers = answer(study, numbers := collect(layout, seeds, variants), quick=is_quick)
    write_results(layout, results_folder(study, out, is_quick), numbers, answers, seeds, variants)
    return answers


def results_folder(study: Study, out: Path, is_quick: bool) -> Path:
    """Where a study's tables and pages go: those of a quick run apart."""
    return out / (f"{study.name}-quick" if is_quick else study.name)


def _missing(layout: Layout, seeds: int, variants: Sequence[str]) -> dict[str, Part]:
    return {part.command.name: part for part in layout.parts(seeds, variants) if not part.done}


def _note_refusals(parts: dict[str, Part], failures: dict[str, Failure]) -> None:
    """Notes pairs that no temperature brings to equal loss; any other failure ends the study."""
    serious = {}
    for name, failure in failures.items():
        if parts[name].may_refuse and failure.code == InputError.exit_code and "no temperature" in failure.sentence:
            write_text(parts[name].refused, f"{failure.sentence}\n")
        else:
            serious[name] = failure
    for name, failure in serious.items():
        kind = InputError if failure.code == InputError.exit_code else LandscapeError
        raise kind(
            f"{len(serious)} of {len(parts)} commands failed; {name} ended with exit code {failure.code}: "
            f"{failure.sentence}"
        )


def parser_of(study: Study) -> Parser:
    """The arguments of a study's command."""
    parser = Parser(f"analyses.{study.name}", study.asks, "--seeds 5 --jobs 2")
    add = parser.add_argument
    add("--quick", action="store_true", help="everything in minutes, with short trainings; no verdict")
    add("--seeds", type=int, help=f"how many, from 0 (default: {study.seeds})")
    names = ", ".join(variant.name for variant in study.variants)
    add("--runs", metavar="A,B", help=f"variants by name or pattern (default: all, which are {names})")
    add("--jobs", type=int, default=1, help="commands at a time, which share the machine's threads")
    add("--executor", choices=executor.EXECUTORS, default="local", help="where: here, SLURM, or print a script for it")
    add("--slurm", default="", metavar="KEY=VALUE,…", help="options of sbatch, such as partition=gpu,time=60")
    add("--max-jobs", type=int, help="tasks of a SLURM array at a time (default: what the site lets)")
    add("--out", type=Path, default=Path("runs/studies"), help="folder of all studies, which share their trainings")
    return parser


def _run(study: Study, arguments: argparse.Namespace) -> None:
    if arguments.quick:
        study = quick(study)
    seeds = study.seeds if arguments.seeds is None else arguments.seeds
    if seeds < 1:
        raise InputError(f"{seeds} seeds are no study: give at least 1")
    variants = _chosen(study, arguments.runs)
    require_writable_folder(arguments.out, "--out")
    options = named_values("--slurm", arguments.slurm, "key=value pairs, such as partition=gpu,time=60")
    logs, cluster = arguments.out / "logs", Cluster(options, arguments.max_jobs)
    if arguments.executor == "print":
        missing = _missing(Layout(study, arguments.out), seeds, variants)
        print(executor.script([part.command for part in missing.values()], logs, cluster), end="")
        return
    carry = partial(executor.run, executor=arguments.executor, jobs=arguments.jobs, logs=logs, cluster=cluster)
    answers = carry_out(
        study, arguments.out, carry, seeds=seeds, variants=variants, is_quick=arguments.quick, say=print
    )
    print(answers_table(answers))
    print(f"\nopen {results_folder(study, arguments.out, arguments.quick) / 'report.html'}")


def _chosen(study: Study, wanted: str | None) -> list[str]:
    """The variants that patterns name, in the study's order."""
    names = [variant.name for variant in study.variants]
    if wanted is None:
        return names
    patterns = [text.strip() for text in wanted.split(",")]
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise one_of("variant", pattern, names)
    return [name for name in names if any(fnmatchcase(name, pattern) for pattern in patterns)]


def main(study: Study, argv: Sequence[str] | None = None) -> NoReturn:
    """Runs a study's command.

    Args:
        study: The study.
        argv: Arguments instead of the process's own.
    """
    run_command(partial(_run, study), parser_of(study), argv)
