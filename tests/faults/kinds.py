"""The kinds of tries: a file of the world, a way to spoil it, and a command that then meets it."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.faults import faults

SHARPNESS = ("landscape.sharpness", "--subsets", "class:9", "--steps", 1, "--draws", 2, "--radii", 0.1)
MEASURE = (*SHARPNESS, "--ckpt", "run/checkpoint.pt", "--out", "new.h5")
REPORT = ("landscape.report", "run/landscape.h5", "--out", "page-again.html")
PAGE = "page-again.html"


@dataclass(frozen=True)
class Kind:
    """A kind of tries.

    Attributes:
        name: What the table calls it.
        file: The file that is spoiled.
        faults: All ways to spoil it.
        command: What then meets it.
        product: A file that must be as without the fault, where the command succeeds; empty where the change may count.
        names: Whether a refusal must name the file.
    """

    name: str
    file: str
    faults: Callable[[Path], Iterable[faults.Fault]]
    command: tuple[object, ...]
    product: str = ""
    names: bool = True


RESUME = ("training.run", "--resume", "--out")
KINDS = (
    Kind("landscape.h5: attributes", "run/landscape.h5", faults.hdf5_attributes, REPORT),
    Kind("landscape.h5: data sets", "run/landscape.h5", faults.hdf5_datasets, REPORT),
    Kind("landscape.h5: cut short", "run/landscape.h5", faults.cuts, REPORT),
    Kind("landscape.h5: a bit of a number flipped", "run/landscape.h5", faults.flipped_numbers, REPORT, PAGE),
    Kind("landscape.h5: any bit flipped", "run/landscape.h5", lambda p: faults.flips(p, 400), REPORT, PAGE),
    Kind("landscape.h5, measured into: data sets", "run/landscape.h5", faults.hdf5_datasets,
         (*SHARPNESS, "--ckpt", "run/checkpoint.pt", "--name", "again")),
    Kind("checkpoint: values", "run/checkpoint.pt", faults.tensor_values, MEASURE),
    Kind("checkpoint: cut short", "run/checkpoint.pt", faults.cuts, MEASURE),
    Kind("checkpoint: a bit flipped", "run/checkpoint.pt", faults.flips, MEASURE, "data"),
    Kind("config.json of a run", "half/config.json", faults.json_values, (*RESUME, "half"), names=False),
    Kind("config.json of a page", "run/config.json", faults.json_values, REPORT),
    Kind("metrics.jsonl of a run", "half/metrics.jsonl", faults.line_values, (*RESUME, "half")),
    Kind("metrics.jsonl of a page", "run/metrics.jsonl", faults.line_values, REPORT),
    Kind("summary.json", "run/summary.json", faults.json_values, (*RESUME, "run")),
    Kind("resume.pt: values", "half/resume.pt", faults.tensor_values, (*RESUME, "half")),
    Kind("resume.pt: a bit flipped", "half/resume.pt", lambda p: faults.flips(p, 60), (*RESUME, "half"), "weights"),
    Kind("recipe", "recipe.yaml", faults.yaml_values,
         ("training.run", "--recipe", "recipe.yaml", "--out", "new", "--dry-run"), names=False),
)  # fmt: skip
