"""What committed results say of the claims: every statement of every study, those that were not run too."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from analyses.engine.answers import answer
from analyses.engine.numbers import VALUES, Numbers, read_numbers
from analyses.engine.study import CLAIMS, Study
from analyses.engine.tables import markdown_cell


def findings_table(studies: Sequence[Study], results: Path) -> str:
    """A Markdown table a claim, verdicts computed anew from the committed numbers.

    Args:
        studies: The studies.
        results: A folder that holds a folder of numbers for each study that was run.

    Returns:
        The text.

    Raises:
        InputError: A file of numbers is not as declared.
    """
    answers = [(study, told) for study in studies for told in answer(study, _numbers(study, results))]
    lines: list[str] = []
    for letter, claim in CLAIMS.items():
        rows = [
            (told.question.text, f"`{study.name}`", told.verdict, str(told.seeds), told.figures)
            for study, told in answers
            if told.question.claim == letter
        ]
        lines += [f"### ({letter}) {claim}", ""]
        if rows:
            lines += ["| statement | study | verdict | seeds | figures |", "|---|---|---|---|---|"]
            lines += [f"| {' | '.join(map(markdown_cell, row))} |" for row in rows]
        else:
            lines.append("No study asks about it.")
        lines.append("")
    return "\n".join(lines).rstrip()


def _numbers(study: Study, results: Path) -> Numbers:
    folder = results / study.name
    return read_numbers(folder) if (folder / VALUES).is_file() else Numbers((), ())
