"""Many commands: in processes of this machine, as a SLURM array through submitit, or as a script for `sbatch`.

A command is whole in itself: started again it continues, and does nothing where its work is done. So a command that a
signal ended (exit 129, 130, 143: a preempted job) is started again, and one that refused its input (exit 2) is not.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from foundation import endings
from foundation.errors import InputError
from foundation.progress import Progress

EXECUTORS = ("local", "slurm", "print")
RESUMED = frozenset({129, 130, 143})
"""Exit codes of commands that a signal ended with their work kept."""
ATTEMPTS = 10
"""Starts of one command: one that a signal ends as often as that is given up."""
LARGEST_ARRAY = 1000
"""Tasks of one SLURM array: sites refuse more than their MaxArraySize, which is 1001 unless they raised it."""
POLL = 0.05
"""Seconds between looks at running processes."""


@dataclass(frozen=True)
class Command:
    """One idempotent, resumable command.

    Attributes:
        name: Unique among those that are run together; names its log.
        module: What `python -m` runs.
        arguments: Its arguments.
        needs: Names of commands that must be done before; one that is not among those that are run is done.
    """

    name: str
    module: str
    arguments: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", self.module, *self.arguments]


@dataclass(frozen=True)
class Failure:
    """How a command failed.

    Attributes:
        code: Its exit code; negative for the signal that killed it.
        sentence: The last line that it said.
    """

    code: int
    sentence: str


@dataclass(frozen=True)
class Cluster:
    """How jobs are submitted.

    Attributes:
        options: Of `sbatch`, such as `{"partition": "gpu", "time": "60"}`.
        most: Tasks of an array that run at a time; None for as many as the site lets.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    most: int | None = None


def run(
    commands: Sequence[Command], executor: str, jobs: int, *, logs: Path, cluster: Cluster = Cluster()
) -> dict[str, Failure]:
    """Runs commands, each after those that it needs.

    Args:
        commands: What is to be done.
        executor: `"local"`, or `"slurm"`, which waits for the jobs too.
        jobs: Processes at a time on this machine, which share its threads.
        logs: Folder that their output goes to.
        cluster: How jobs are submitted.

    Returns:
        The failures by the command's name. What needs a failed command is not begun and not named.

    Raises:
        InputError: `jobs` is below 1, or submitit is not installed.
    """
    if jobs < 1:
        raise InputError(f"{jobs} jobs run nothing: give at least 1")
    logs.mkdir(parents=True, exist_ok=True)
    return _slurm(commands, logs, cluster) if executor == "slurm" else _local(commands, jobs, logs)


def levels(commands: Sequence[Command]) -> list[list[Command]]:
    """Commands in groups, each of which needs those before alone.

    Args:
        commands: The commands; none may come before one that it needs.

    Returns:
        The groups.
    """
    depth: dict[str, int] = {}
    for command in commands:
        depth[command.name] = max((depth[name] + 1 for name in command.needs if name in depth), default=0)
    return [[c for c in commands if depth[c.name] == level] for level in range(max(depth.values(), default=-1) + 1)]


def _local(commands: Sequence[Command], jobs: int, logs: Path) -> dict[str, Failure]:
    threads = os.environ.get("OMP_NUM_THREADS") or str(max((os.cpu_count() or 1) // jobs, 1))
    environment = {**os.environ, "OMP_NUM_THREADS": threads, "OMP_WAIT_POLICY": "passive"}
    waiting, unfinished = list(commands), {command.name for command in commands}
    running: dict[subprocess.Popen[bytes], tuple[Command, int]] = {}
    failures: dict[str, Failure] = {}

    def start(command: Command, attempt: int) -> None:
        with (logs / f"{command.name}.log").open("ab") as log:
            process = subprocess.Popen(
                command.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment,
                start_new_session=True, preexec_fn=_end_with_parent,
            )  # fmt: skip
        running[process] = command, attempt

    try:
        with Progress("running", len(commands), "command") as progress:
            while True:
                ready = [command for command in waiting if not unfinished & set(command.needs)]
                for command in ready[: jobs - len(running)]:
                    waiting.remove(command)
                    start(command, 1)
                if not running:
                    return failures
                for process in [process for process in running if process.poll() is not None]:
                    command, attempt = running.pop(process)
                    if process.returncode in RESUMED and attempt < ATTEMPTS:
                        start(command, attempt + 1)
                        continue
                    if process.returncode:
                        failures[command.name] = Failure(process.returncode, _last_line(logs / f"{command.name}.log"))
                    else:
                        unfinished.remove(command.name)
                    progress.advance(note=command.name)
                endings.look()
                time.sleep(POLL)
    finally:
        for process in running:  # their work is kept
            process.send_signal(signal.SIGTERM)
        for process in running:
            process.wait()


def _end_with_parent() -> None:
    """Lets the kernel end a child whose parent was killed, so that the next start finds no folder in use (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("error: ") if lines else "it said nothing"


class Job:
    """What a job of an array does: one command line, started again as often as a signal ends it.

    Args:
        command: The command.
        logs: Folder that its output goes to.
    """

    def __init__(self, command: Command, logs: Path) -> None:
        self.words, self.log = command.words, logs / f"{command.name}.log"

    def __call__(self) -> Failure | None:
        """Runs it.

        Returns:
            How it failed; None where it did not.
        """
        code = 0
        for _ in range(ATTEMPTS):
            with self.log.open("ab") as log:
                code = subprocess.run(
                    self.words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False
                ).returncode
            if code not in RESUMED:
                break
        return Failure(code, _last_line(self.log)) if code else None

    def checkpoint(self) -> Any:
        """The same job again, for one that the site takes back."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


def _slurm(commands: Sequence[Command], logs: Path, cluster: Cluster) -> dict[str, Failure]:
    try:
        import submitit
    except ImportError:
        raise InputError(
            "--executor slurm needs submitit: install longtail-landscape[cluster], or take --executor print"
        ) from None
    submit = submitit.AutoExecutor(folder=logs, cluster="slurm")
    submit.update_parameters(
        slurm_additional_parameters=dict(cluster.options), slurm_array_parallelism=cluster.most or 256
    )
    failures: dict[str, Failure] = {}
    unfinished = {command.name for command in commands}
    for level in levels(commands):
        ready = [command for command in level if not unfinished & set(command.needs)]
        jobs = []
        for array in _arrays(ready):
            with submit.batch():
                jobs += [submit.submit(Job(command, logs.resolve())) for command in array]
        for command, job in zip(ready, jobs, strict=True):
            try:
                failure = job.result()  # without accounting a job's state is never told: waiting is all there is
            except Exception as error:  # whatever became of the job on its node
                failure = Failure(1, str(error).strip().splitlines()[-1])
            if failure is None:
                unfinished.remove(command.name)
            else:
                failures[command.name] = failure
    return failures


def script(commands: Sequence[Command], logs: Path, cluster: Cluster = Cluster()) -> str:
    """A shell script that submits the commands as arrays, each of which waits for those before.

    Args:
        commands: What is to be done.
        logs: Folder that their output goes to.
        cluster: How jobs are submitted.

    Returns:
        The script, for a login node without Python. A task that a signal ended is queued again, unless its command
        refused its input.
    """
    options = "".join(f" --{key}={shlex.quote(value)}" for key, value in cluster.options.items())
    lines = [
        "#!/bin/bash",
        "# Submits arrays of jobs, each after those before it: run it by bash on the login node, in this folder.",
        "set -e",
        f"mkdir -p {shlex.quote(str(logs))}",
        "after=",
    ]
    arrays = [array for level in levels(commands) for array in _arrays(level)]
    for number, array in enumerate(arrays):
        limit = "" if cluster.most is None else f"%{cluster.most}"
        log = shlex.quote(f"{logs}/array-{number}-%a.log")
        lines += [
            f"job=$(sbatch --parsable --requeue --open-mode=append --array=0-{len(array) - 1}{limit} "
            f"--output={log} ${{after:+--dependency=afterok:$after}}{options} <<'ARRAY'",
            "#!/bin/bash",
            "case $SLURM_ARRAY_TASK_ID in",
            *(f"{task}) {shlex.join(command.words)} ;;" for task, command in enumerate(array)),
            "esac",
            "code=$?",
            f"case $code in {'|'.join(map(str, sorted(RESUMED)))}) "
            "scontrol requeue ${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID ;; esac",
            "exit $code",
            "ARRAY",
            ")",
            "after=${job%%;*}",
        ]
    return "\n".join([*lines, 'echo "submitted; the last array is $after"']) + "\n"


def _arrays(commands: Sequence[Command]) -> list[Sequence[Command]]:
    return [commands[start : start + LARGEST_ARRAY] for start in range(0, len(commands), LARGEST_ARRAY)]
