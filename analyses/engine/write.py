"""What a study leaves behind: CSV and Markdown tables, a figure, its page and that of its networks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analyses.engine.answers import Answer
from analyses.engine.figure import draw_answers
from analyses.engine.numbers import Numbers
from analyses.engine.page import study_page
from analyses.engine.parts import Layout
from analyses.engine.tables import MEANS, answers_csv, answers_table, means_table
from foundation.devices import choose_device
from foundation.files import write_json, write_text
from foundation.provenance import provenance
from landscape.report import write_report
from landscape.schema import NUMERICS

ANSWERS, PROVENANCE = "answers.csv", "provenance.json"


def write_results(
    layout: Layout, folder: Path, numbers: Numbers, answers: Sequence[Answer], seeds: int, variants: Sequence[str]
) -> None:
    """Writes everything of a study.

    Args:
        layout: Where its networks and measurements lie.
        folder: Where tables and pages go.
        numbers: What was measured.
        answers: What follows.
        seeds: How many seeds, from 0.
        variants: The variants that were looked at.
    """
    folder.mkdir(parents=True, exist_ok=True)
    study = layout.study
    numbers.write(folder)
    write_text(folder / ANSWERS, answers_csv(answers))
    write_json(folder / PROVENANCE, {**_provenance(), "study": study.name, "seeds": seeds, "runs": list(variants)})
    tables = "\n\n".join(means_table(numbers, measure, title) for measure, title in MEANS)
    write_text(folder / "study.md", f"# {study.name}\n\n{study.asks}\n\n{answers_table(answers)}\n\n{tables}\n")
    draw_answers(answers, folder / "answers.svg")
    chosen = variants if layout.measures_classes else ()  # the page tells classes apart; of groups alone it has little
    files = {name: [f for s in range(seeds) if (f := layout.landscape(name, s)).is_file()] for name in chosen}
    found = {name: paths for name, paths in files.items() if paths}
    if found:
        groups = {name: layout.group(name) for name in found} if len(found) > 1 else None
        write_report([path for paths in found.values() for path in paths], folder / "networks.html", groups=groups)
    write_text(
        folder / "report.html", study_page(study, answers, numbers, folder / "answers.svg", networks=bool(found))
    )


def _provenance() -> dict[str, object]:
    """Where the tables come from, without folders of this machine."""
    told = provenance(choose_device("cpu"))
    return {
        "numerics": NUMERICS,
        **{k: told[k] for k in ("version", "python", "torch", "device", "command", "started")},
    }
