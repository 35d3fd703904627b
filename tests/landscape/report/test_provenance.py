"""Where the numbers come from: commands that run again, and no path of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from landscape.report.payload.provenance import portable

HOME = Path("/home/ann/my runs")


@pytest.mark.parametrize(
    ("told", "portably"),
    [
        ("python -m landscape.hessian --ckpt '/home/ann/my runs/ce/checkpoint.pt' --top 3",
         "python -m landscape.hessian --ckpt ce/checkpoint.pt --top 3"),
        ("landscape surface --ckpt ce/checkpoint.pt --of few", "landscape surface --ckpt ce/checkpoint.pt --of few"),
        ("landscape hessian --network /home/bob/code/mine.py:build --weights=/scratch/x/best.pth",
         "landscape hessian --network code/mine.py:build --weights=x/best.pth"),
        ("landscape surface --through '/home/ann/my runs/a/checkpoint.pt,/b/c/d.pt'",
         "landscape surface --through a/checkpoint.pt,c/d.pt"),
        ("network /home/bob/code/mine.py:build · data 1/2 · url https://example.org/a/b",
         "network code/mine.py:build · data 1/2 · url https://example.org/a/b"),
        ("", ""),
        ("an unclosed ' quote in /home/bob/x/y", "an unclosed ' quote in x/y"),
    ],
)  # fmt: skip
def test_no_path_is_absolute(told: str, portably: str) -> None:
    assert portable(told, HOME) == portably
