"""Lists the data sets of a landscape.h5 in docs/data_sets.md: `python docs/list_data_sets.py`.

What the fields of the results say of themselves is all that is known here: a test holds the page to them.
"""

from __future__ import annotations

from pathlib import Path

from foundation.files import write_text
from landscape.hessian.measure_cross_class import CrossClass
from landscape.hessian.result import SubsetCurvature
from landscape.recording.track import Track
from landscape.schema import Quantity, quantities
from landscape.sharpness.result import Sharpness
from landscape.surface.result import Surface

PAGE = Path(__file__).resolve().parent / "data_sets.md"
TYPES = {"f8": "float64", "f4": "float32", "i8": "int64", "i1": "int8", "str": "text"}
HEAD = """# Data sets of a landscape.h5

Every group names its own dimensions and carries unit and meaning of each number (`units`, `long_name`), so that it
opens alone: `xarray.open_dataset("landscape.h5", group="hessian/train", engine="h5netcdf")`. `to_xarray()` of a result
has the same names. Numbers that are not known are NaN, also behind the last of an array that is shorter than its
dimension. Losses are in nat; a derivative of a loss has no unit of its own, for it is nat per unit of the weights. Some
numbers are there only where a setting asked for them, and some of a surface's only for some planes.
"""
GROUPS = {
    "/hessian/NAME": (("subset",), SubsetCurvature),
    "/hessian/NAME, across classes (`--cross-class`)": ((), CrossClass),
    "/sharpness/NAME": ((), Sharpness),
    "/surface/NAME": ((), Surface),
    "/track/NAME": ((), Track),
}


def page() -> str:
    """The whole page in Markdown."""
    tables = [
        f"## {title}\n\n| data set | dimensions | type | unit | what it is | asked by |\n|---|---|---|---|---|---|\n"
        + "\n".join(_row(q, before) for q in quantities(kind))
        for title, (before, kind) in GROUPS.items()
    ]
    return "\n".join([HEAD, *(f"{table}\n" for table in tables)])


def _row(q: Quantity, before: tuple[str, ...]) -> str:
    when = f"`{q.when}`" if q.when else ""
    cells = (f"`{q.name}`", ", ".join((*before, *q.dims)), TYPES[q.dtype], q.unit, q.meaning, when)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    write_text(PAGE, page())
