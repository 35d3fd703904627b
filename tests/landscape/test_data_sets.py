"""docs/data_sets.md is what the results say of themselves."""

import importlib.util
from pathlib import Path

SCRIPT = Path(__file__).resolve().parents[2] / "docs" / "list_data_sets.py"


def test_the_page_is_in_step_with_the_results():
    spec = importlib.util.spec_from_file_location("list_data_sets", SCRIPT)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    assert script.PAGE.read_text(encoding="utf-8") == script.page(), "run python docs/list_data_sets.py"
