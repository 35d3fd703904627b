"""The declared model of a line of `metrics.jsonl`: training writes one an epoch, a page draws them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from foundation.declared import MOST_JSON, Finite, Open, Text, validated
from foundation.errors import InputError

Epoch = Annotated[int, Field(ge=1, lt=1 << 31)]


class Means(Open):
    """By subset: a number each, `classes` in label order with None for a class without samples."""

    __pydantic_extra__: dict[str, float] = Field(init=False)
    classes: list[float | None] = Field(default_factory=list)


class Scores(Open):
    """Of one split."""

    loss: Means = Field(default_factory=Means)
    accuracy: Means = Field(default_factory=Means)


class MetricsLine(Open):
    """One epoch. What the losses are made of may be infinite; the objective is not, or training ends."""

    epoch: Epoch
    objective: Finite | None = None
    lr: Finite | None = None
    validation: Scores | None = None
    train: Scores | None = None
    test: Scores | None = None
    seconds: dict[Text, Finite] = Field(default_factory=dict)


def read_lines(path: Path, way_out: str) -> list[dict[str, Any]]:
    """The lines of a `metrics.jsonl`; one that a kill cut off, the last, ends them.

    Args:
        path: The file.
        way_out: What a reader may do where it is not as declared.

    Returns:
        The lines, none where the file is absent.

    Raises:
        InputError: A line is not as declared; the sentence names file, line, field and value.
    """
    if not path.exists():
        return []
    place = repr(str(path))
    try:
        if not path.is_file() or path.stat().st_size > MOST_JSON:
            raise InputError(f"{place} is no ordinary file of at most {MOST_JSON >> 20} MiB: {way_out}")
        texts = path.read_bytes().split(b"\n")
    except OSError as error:
        raise InputError(f"{place} cannot be read ({error.strerror}): {way_out}") from None
    lines = []
    for number, text in enumerate(texts, start=1):
        if not text.strip():
            continue
        try:
            line = json.loads(text)
        except (ValueError, RecursionError):
            if number == len(texts):
                break
            raise InputError(f"{place} line {number} is no JSON: {way_out}") from None
        validated(MetricsLine, line, f"{place} line {number}", way_out)
        lines.append(line)
    return lines
