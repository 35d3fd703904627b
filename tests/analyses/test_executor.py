"""The executor: what runs after what, what is started again, what is not."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from analyses import executor
from analyses.executor import Cluster, Command, Failure, Job, levels, run, script
from foundation.errors import InputError


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch):
    """Commands whose `module` is a line of sh: a process of Python would take a tenth of a second."""
    monkeypatch.setattr(Command, "words", property(lambda self: ["sh", "-c", self.module]))


def command(name: str, line: str, *needs: str) -> Command:
    return Command(name, line, (), needs)


def test_commands_run_after_those_they_need_and_a_failure_stops_only_what_needs_it(shell, tmp_path: Path) -> None:
    failures = run(
        [
            command("first", f"echo 1 >> {tmp_path}/order"),
            command("bad", "echo 'error: no such thing' >&2; exit 2"),
            command("second", f"echo 2 >> {tmp_path}/order", "first", "done before"),
            command("never", f"echo 3 >> {tmp_path}/order", "bad"),
            command("nor this", f"echo 4 >> {tmp_path}/order", "never"),
        ],
        "local", 2, logs=tmp_path / "logs",
    )  # fmt: skip
    assert failures == {"bad": Failure(2, "no such thing")}
    assert (tmp_path / "order").read_text() == "1\n2\n"


@pytest.mark.parametrize(("code", "starts"), [(0, 1), (1, 1), (2, 1), (129, 3), (130, 3), (143, 3)])
def test_what_a_signal_ended_is_started_again_and_what_refused_is_not(shell, monkeypatch, tmp_path, code, starts):
    monkeypatch.setattr(executor, "ATTEMPTS", 3)
    line = f"echo x >> {tmp_path}/starts; exit {code}"
    failures = run([command("it", line)], "local", 1, logs=tmp_path / "logs")
    assert (tmp_path / "starts").read_text().count("x") == starts
    assert failures == ({"it": Failure(code, "it said nothing")} if code else {})
    (tmp_path / "starts").unlink()
    assert Job(command("it", line), tmp_path / "logs")() == failures.get("it")
    assert (tmp_path / "starts").read_text().count("x") == starts


def test_a_preempted_command_that_then_succeeds_is_done(shell, tmp_path: Path) -> None:
    line = f"test -e {tmp_path}/begun && exit 0; touch {tmp_path}/begun; exit 143"
    assert run([command("it", line)], "local", 1, logs=tmp_path / "logs") == {}


def test_processes_share_the_threads_unless_the_user_said_how_many(shell, monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    told = []
    for asked in (None, "3"):
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if asked:
            monkeypatch.setenv("OMP_NUM_THREADS", asked)
        run([command("it", f"echo $OMP_NUM_THREADS > {tmp_path}/threads")], "local", 2, logs=tmp_path / "logs")
        told.append((tmp_path / "threads").read_text().strip())
    assert told == ["4", "3"]


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel's word to children is Linux's")
def test_children_end_with_a_parent_that_was_killed(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from analyses.executor import Command, run\n"
        "Command.words = property(lambda self: ['sh', '-c', self.module])\n"
        "run([Command('it', 'echo $$; exec sleep 60', ())], 'local', 1, logs=Path(sys.argv[1]))"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE)
    log = tmp_path / "it.log"
    while parent.poll() is None and not (log.is_file() and log.read_text().strip()):
        pass
    child = int(log.read_text())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    assert parent.stdout is not None
    parent.stdout.close()
    for _ in range(10**7):  # until the kernel has done it
        if not Path(f"/proc/{child}/status").exists() or "Z" in Path(f"/proc/{child}/stat").read_text().split()[2]:
            break
    else:
        pytest.fail("the child lives on")


def test_levels_follow_the_needs() -> None:
    names = [[c.name for c in level] for level in levels([
        command("a", ""), command("b", "", "a"), command("c", "", "gone"), command("d", "", "c", "b"),
    ])]  # fmt: skip
    assert names == [["a", "c"], ["b"], ["d"]] and levels([]) == []


def test_the_script_is_shell_and_submits_arrays_one_after_another(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(executor, "LARGEST_ARRAY", 2)
    (tmp_path / "bin").mkdir()
    sbatch = tmp_path / "bin" / "sbatch"  # notes its arguments, runs every task of the array, answers with a number
    sbatch.write_text(
        f"#!/bin/bash\ncat > {tmp_path}/job.sh\nnumber=$(ls {tmp_path}/calls* 2>/dev/null | wc -l)\n"
        f'echo "$*" > {tmp_path}/calls$number\n'
        f"for SLURM_ARRAY_TASK_ID in 0 1; do export SLURM_ARRAY_TASK_ID; bash {tmp_path}/job.sh; done >&2\n"
        'echo "$((100 + number));cluster"\n'
    )
    sbatch.chmod(0o755)
    monkeypatch.setattr(Command, "words", property(lambda self: ["touch", str(tmp_path / self.module)]))
    text = script(
        [command("a", "it's a"), command("b", "b"), command("c", "c"), command("d", "d", "a")],
        tmp_path / "logs", Cluster({"partition": "two words"}, most=5),
    )  # fmt: skip
    environment = {**os.environ, "PATH": f"{tmp_path}/bin:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", text], env=environment, capture_output=True, text=True, check=True)
    assert all((tmp_path / name).exists() for name in ("it's a", "b", "c", "d"))
    calls = [(tmp_path / f"calls{number}").read_text() for number in range(3)]
    assert "--array=0-1%5" in calls[0] and "--array=0-0%5" in calls[1] and "--partition=two words" in calls[0]
    assert "afterok" not in calls[0] and "afterok:100" in calls[1] and "afterok:101" in calls[2]
    assert done.stdout.endswith("the last array is 102\n")


def test_slurm_without_submitit_says_what_to_install(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(InputError, match=r"longtail-landscape\[cluster\]"):
        run([command("it", "")], "slurm", 1, logs=tmp_path)


def test_slurm_runs_level_by_level_and_tells_failures(shell, monkeypatch, tmp_path: Path) -> None:
    submitted: list[str] = []

    class Scheduler:
        """Stands for submitit's executor; jobs run when their results are asked for."""

        def __init__(self, folder: Path, cluster: str) -> None:
            assert cluster == "slurm"

        def update_parameters(self, **parameters: object) -> None:
            submitted.append(str(sorted(parameters)))

        def batch(self):
            submitted.append("array")
            return contextlib.nullcontext()

        def submit(self, job: Job):
            submitted.append(job.log.stem)
            return type("Done", (), {"result": staticmethod(job)})

    monkeypatch.setattr("submitit.AutoExecutor", Scheduler)
    commands = [
        command("a", "exit 0"), command("bad", "echo no; exit 1"), command("b", "exit 0", "a"), command("c", "", "bad")
    ]  # fmt: skip
    assert run(commands, "slurm", 1, logs=tmp_path) == {"bad": Failure(1, "no")}
    assert submitted[1:] == ["array", "a", "bad", "array", "b"]


def test_no_jobs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="0 jobs"):
        run([], "local", 0, logs=tmp_path)


@pytest.mark.exhaustive
def test_jobs_survive_submitits_pickling_and_tell_their_failures(monkeypatch, tmp_path: Path) -> None:
    """submitit's own processes stand for nodes; what it takes and gives back is the same."""
    import submitit

    real = submitit.AutoExecutor
    monkeypatch.setattr("submitit.AutoExecutor", lambda folder, cluster: real(folder=folder, cluster="local"))
    commands = [
        Command("good", "platform", ()),
        Command("bad", "analyses.reweighting", ("--seeds", "0")),
        Command("after", "platform", (), ("good",)),
        Command("never", "platform", (), ("bad",)),
    ]
    failures = run(commands, "slurm", 1, logs=tmp_path, cluster=Cluster({"partition": "x"}, most=2))
    assert failures == {"bad": Failure(2, "0 seeds are no study: give at least 1")}
    assert (tmp_path / "after.log").read_text() and not (tmp_path / "never.log").exists()
