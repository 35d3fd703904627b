"""A process that has everything imported and forks for every command, so that a try costs what the command does.

python -m tests.faults.server    reads one JSON object a line, {"module", "arguments", "folder", "seconds", "memory"},
and answers each with one: {"code", "out", "err", "seconds", "peak"}.
"""

import gc
import json
import os
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = ("training.run", "landscape.hessian", "landscape.sharpness", "landscape.surface", "landscape.report",
            "landscape.figures")  # fmt: skip
LATER = ("training.data", "training.methods.per_sample", "training.models", "torch._dynamo", "sklearn.datasets",
         "matplotlib.pyplot", "matplotlib.backends.backend_agg")  # fmt: skip
TIMED_OUT = -1000


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Attributes:
        code: Exit code, the negative signal that killed it, or `TIMED_OUT`.
        out: What it printed.
        err: What it said on stderr.
        seconds: Wall time.
        peak: Largest resident memory above the server's, in bytes.
    """

    code: int
    out: str
    err: str
    seconds: float
    peak: int


class Server:
    """The fork server, from outside."""

    def __init__(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.server"], cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def run(self, module: str, *arguments: object, folder: Path, seconds: float = 60, memory: int = 2 << 30) -> Ended:
        """Runs a command in a folder, with so much time and so much memory above what the imports take."""
        asked = {"module": module, "arguments": [str(a) for a in arguments], "folder": str(folder)}
        print(json.dumps({**asked, "seconds": seconds, "memory": memory}), file=self._process.stdin, flush=True)
        return Ended(**json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends it."""
        self._process.stdin.close()
        self._process.wait(30)
        self._process.stdout.close()


def _child(asked: dict, out: int, err: int) -> None:
    """Runs the command and never returns."""
    code = 1
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        os.chdir(asked["folder"])
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + asked["memory"],) * 2)
        command = import_module(asked["module"])
        if hasattr(command, "__path__"):
            command = import_module(f"{asked['module']}.__main__")
        sys.argv = [asked["module"]]
        command.main(asked["arguments"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _serve(asked: dict) -> dict:
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started, before = time.monotonic(), _resident()
        pid = os.fork()
        if pid == 0:
            _child(asked, out.fileno(), err.fileno())
        handle = os.pidfd_open(pid)
        ready, _, _ = select.select([handle], [], [], asked["seconds"])
        if not ready:
            os.kill(pid, signal.SIGKILL)
        os.close(handle)
        _, status, usage = os.wait4(pid, 0)
        out.seek(0), err.seek(0)
        return {
            "code": os.waitstatus_to_exitcode(status) if ready else TIMED_OUT,
            "out": out.read().decode(errors="replace"), "err": err.read().decode(errors="replace"),
            "seconds": time.monotonic() - started, "peak": max(usage.ru_maxrss * 1024 - before, 0),
        }  # fmt: skip


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def main() -> None:
    """Serves until stdin ends."""
    for name in COMMANDS:
        command = import_module(name)
        if hasattr(command, "__path__"):
            import_module(f"{name}.__main__")
    for later in LATER:
        import_module(later)
    gc.freeze()
    for line in sys.stdin:
        print(json.dumps(_serve(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
