"""Runs a command and kills it, as SIGKILL does, right after the n-th call of one of its functions.

python -m tests.kill_at landscape.files.units:Recording.flush 3 landscape.hessian --ckpt …
"""

import functools
import importlib
import os
import runpy
import signal
import sys


def kill_after(target: str, calls: int) -> None:
    module, path = target.split(":")
    *holders, name = path.split(".")
    holder = functools.reduce(getattr, holders, importlib.import_module(module))
    original = getattr(holder, name)
    left = calls

    @functools.wraps(original)
    def counted(*arguments, **keywords):
        nonlocal left
        result = original(*arguments, **keywords)
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(holder, name, counted)


if __name__ == "__main__":
    target, calls, module, *arguments = sys.argv[1:]
    kill_after(target, int(calls))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
