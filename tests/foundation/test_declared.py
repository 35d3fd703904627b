"""What is declared of a file or a setting holds, and what is otherwise is one sentence that names it."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from foundation.declared import Finite, Open, check_fields, check_settings, read_json, shown, validated
from foundation.errors import InputError
from foundation.metrics_line import read_lines


class Part(Open):
    count: Annotated[int, Field(ge=1)]
    share: Finite = 0.0


@dataclass(frozen=True)
class Settings:
    steps: Annotated[int, Field(ge=1, le=100)] = 3
    rate: Finite | None = None
    names: tuple[str, ...] = ()


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({}, "lacks count"),
        ({"count": 0}, "count = 0, expected is 1 or more"),
        ({"count": True}, "count = True, expected is a whole number"),
        ({"count": "1"}, "count = '1', expected is a whole number"),
        ({"count": 1.5}, "expected is a"),
        ({"count": 1, "share": math.nan}, "share = nan, expected is a finite number"),
        ({"count": 1, "share": "x" * 500}, "…, expected is a number"),
        (None, "None, expected"),
    ],
)
def test_the_sentence_names_file_field_value_and_what_was_expected(value, said):
    with pytest.raises(InputError) as refused:
        validated(Part, value, "'there.json'", "mend it")
    text = str(refused.value)
    assert "'there.json'" in text and said in text and text.endswith(": mend it")
    assert "\n" not in text and len(text) < 300


def test_what_is_declared_is_taken():
    assert validated(Part, {"count": 2, "share": 1, "later": [1]}, "x", "y").count == 2


def test_nesting_is_bounded():
    deep: list = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(InputError, match="levels deep"):
        validated(Part, {"count": 1, "more": deep}, "'f'", "mend it")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 100_000, b'{"count": 1e999}', b'{"count": NaN}', b"12"]
)
def test_json_that_is_otherwise_is_a_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "f.json").write_bytes(content)
    with pytest.raises(InputError, match=r"f\.json"):
        read_json(tmp_path / "f.json", Part, "mend it")


def test_a_file_that_is_none_is_a_sentence(tmp_path: Path):
    for path in (tmp_path, tmp_path / "absent", Path("/dev/zero")):
        with pytest.raises(InputError, match="no ordinary file"):
            read_json(path, Part, "mend it")


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"steps": 0}, "--steps 0 cannot be: give 1 or more"), ({"steps": 10**20}, "give 100 or less"),
     ({"rate": math.inf}, "--rate inf cannot be: give a finite number"), ({"steps": 2.0}, "--steps")],
)  # fmt: skip
def test_settings_keep_to_their_declarations(changes, said):
    with pytest.raises(InputError, match=said):
        check_fields(Settings(**changes))
    with pytest.raises(InputError, match="'file' has "):
        check_settings(Settings, changes, "'file'", "mend it")


def test_a_setting_that_is_unknown_is_refused():
    check_fields(Settings(rate=1, names=("a",)))
    with pytest.raises(InputError, match="'stepz'"):
        check_settings(Settings, {"stepz": 1}, "'file'", "mend it")


def test_a_value_is_shown_in_one_short_line():
    assert shown("a\nb") == r"'a\nb'" and len(shown("x" * 10_000)) <= 60 and "\u202e" not in shown("\u202e")


def test_a_line_cut_by_a_kill_ends_the_lines_and_a_damaged_one_is_named(tmp_path: Path):
    path, line = tmp_path / "metrics.jsonl", json.dumps({"epoch": 1, "objective": 0.5})
    path.write_text(f'{line}\n{line}\n{{"epoch": 3, "obj')
    assert len(read_lines(path, "mend it")) == 2
    path.write_text(f'{line}\n{{"epoch": \n{line}\n')
    with pytest.raises(InputError, match="line 2 is no JSON"):
        read_lines(path, "mend it")
    path.write_text(f'{line}\n{{"epoch": -1}}\n')
    with pytest.raises(InputError, match="line 2 has epoch = -1"):
        read_lines(path, "mend it")
