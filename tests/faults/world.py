"""A small world of files, made once by the commands themselves: what faults are put into."""

import json
import shutil
from pathlib import Path

from tests.faults.server import Server

SMALL = ("--data", "digits", "--imbalance", "20", "--model", "cnn", "--model-kwargs", "widths=[4,4,4]")
FEW = ("--subsets", "few,class:8,class:9")


def build(server: Server, folder: Path) -> Path:
    """A finished run of two epochs with its measurements, and one that was interrupted after the first epoch."""
    steps = [
        ("training.run", *SMALL, "--epochs", 2, "--evaluate-every", 1, "--device", "cpu", "--out", "run"),
        ("landscape.hessian", "--ckpt", "run/checkpoint.pt", *FEW, "--top", 1, "--tol", 0.05, "--no-intervals"),
        ("landscape.sharpness", "--ckpt", "run/checkpoint.pt", *FEW, "--steps", 1, "--draws", 2),
        ("landscape.surface", "--ckpt", "run/checkpoint.pt", *FEW, "--points", 5, "--span", 0.5, "--exact"),
        ("landscape.report", "run/landscape.h5", "--out", "page.html"),
        ("training.run", *SMALL, "--epochs", 1, "--snapshots", 0, "--device", "cpu", "--out", "half"),
    ]
    for module, *arguments in steps:
        ended = server.run(module, *arguments, folder=folder, seconds=300, memory=8 << 30)
        assert ended.code == 0, ended.err
    (folder / "page.html").rename(folder / "page-again.html")
    config = folder / "half" / "config.json"  # one epoch of two, as a kill after the first leaves it
    config.write_text(json.dumps({**json.loads(config.read_text()), "epochs": 2}))
    (folder / "half" / "summary.json").unlink()
    (folder / "recipe.yaml").write_text(
        "data: digits\nimbalance: 20\nmodel: cnn\nmethod: ldam\nmethod_kwargs: {max_margin: 0.4}\nepochs: 3\n"
        "lr: 0.1\nbatch_size: 64\nmodel_kwargs: {widths: [4, 4, 4]}\nseed: 1\nweight_decay: 0.001\nwarmup: 0.5\n"
        "schedule: cosine\n"
    )
    return folder


def copied(world: Path, to: Path) -> Path:
    """A copy of the world to be spoiled."""
    shutil.rmtree(to, ignore_errors=True)
    return Path(shutil.copytree(world, to))
