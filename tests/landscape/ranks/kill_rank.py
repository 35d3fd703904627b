"""Runs a command and kills it as `tests.kill_at` does, but on one rank alone.

torchrun … -m tests.landscape.ranks.kill_rank 1 landscape.files.units:Recording.flush 3 landscape.hessian --ckpt …
"""

import os
import runpy
import sys

from tests.kill_at import kill_after

if __name__ == "__main__":
    rank, target, calls, module, *arguments = sys.argv[1:]
    if os.environ["RANK"] == rank:
        kill_after(target, int(calls))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
