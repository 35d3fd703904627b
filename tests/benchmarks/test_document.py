from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.document import DOCUMENT, HEAD, rewrite_block


@pytest.fixture
def page(tmp_path: Path) -> Path:
    return tmp_path / "docs" / "performance.md"


def test_the_first_block_makes_the_page(page: Path) -> None:
    rewrite_block("surface", "12 ms\n", document=page)
    text = page.read_text(encoding="utf-8")
    assert text == f"{HEAD}\n## surface\n\n<!-- surface: begin -->\n12 ms\n<!-- surface: end -->\n"


def test_a_block_is_replaced_where_it_stands_and_no_other_changes(page: Path) -> None:
    for name, text in (("one", "first"), ("two", "second\n\n| a | b |"), ("three", "third")):
        rewrite_block(name, text, document=page)
    before = page.read_text(encoding="utf-8")
    rewrite_block("two", "2nd", document=page)
    after = page.read_text(encoding="utf-8")
    assert after == before.replace("second\n\n| a | b |", "2nd")
    assert after.index("first") < after.index("2nd") < after.index("third")


def test_what_people_wrote_around_the_blocks_stays(page: Path) -> None:
    rewrite_block("one", "first", document=page)
    page.write_text(page.read_text(encoding="utf-8") + "\nA remark below.\n", encoding="utf-8")
    rewrite_block("one", "1st", document=page)
    rewrite_block("two", "second", document=page)
    text = page.read_text(encoding="utf-8")
    assert text.startswith(HEAD) and "1st" in text and "first" not in text
    assert text.index("A remark below.") < text.index("## two")


def test_the_same_figures_leave_the_same_page(page: Path) -> None:
    for _ in range(3):
        rewrite_block("one", "first", document=page)
    assert page.read_text(encoding="utf-8").count("<!-- one: begin -->") == 1


@pytest.mark.parametrize("text", [r"\1 \g<0> 100 % \n", "<!-- other: begin -->", "£ × θ"])
def test_text_is_taken_as_it_is(page: Path, text: str) -> None:
    for _ in range(2):  # made, then replaced
        rewrite_block("one", text, document=page)
        assert f"<!-- one: begin -->\n{text}\n<!-- one: end -->" in page.read_text(encoding="utf-8")


def test_names_that_begin_alike_are_told_apart(page: Path) -> None:
    rewrite_block("surface.speed", "a", document=page)
    rewrite_block("surface", "b", document=page)
    rewrite_block("surface-speed", "c", document=page)
    text = page.read_text(encoding="utf-8")
    assert all(f"<!-- {n}: begin -->\n{t}\n" in text for n, t in (("surface.speed", "a"), ("surface", "b")))
    assert text.count("begin -->") == 3


def test_the_page_of_the_documentation_has_whole_blocks() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text.startswith(HEAD)
    assert text.count(": begin -->") == text.count(": end -->") > 0
