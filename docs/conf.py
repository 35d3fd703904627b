"""The site: `make docs`. Its sources are the Markdown files beside this one, the docstrings and `examples/`."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

from matplotlib.image import imsave  # noqa: E402
from reference_pages import write_pages  # noqa: E402

from foundation.packages import package_version  # noqa: E402

write_pages(HERE / "generated", HERE.parent / "examples")
(HERE / "generated" / "extra" / "pages").mkdir(parents=True, exist_ok=True)
NO_PICTURE = HERE / "generated" / "no_picture.png"
imsave(NO_PICTURE, [[[0.93] * 3] * 10] * 7)

project = "longtail-landscape"
author = "The longtail-landscape authors"
version = release = package_version()
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx_copybutton",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = [
    "_build",
    "generated/examples",
    "generated/gallery/*.py",
    "generated/gallery/*.ipynb",
    "**/sg_execution_times.rst",
]
html_extra_path = ["generated/extra"]  # the examples' pages, as they are
html_theme = "furo"
html_title = "longtail-landscape"
html_show_sphinx = False
html_show_copyright = False

smartquotes = False  # options begin with two hyphens
myst_heading_anchors = 3
myst_links_external_new_tab = False

# Names of other packages are not linked, for a build asks no network; our own public names must resolve.
nitpick_ignore_regex = [(r"py:.*", r"(?!landscape\.\w+$).*")]
autodoc_typehints_format = "short"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
copybutton_exclude = ".linenos, .gp, .go"

sphinx_gallery_conf = {
    "examples_dirs": "generated/examples",
    "gallery_dirs": "generated/gallery",
    "filename_pattern": r"\.py$",  # each is run, unless it is as it was when it was run last
    "ignore_pattern": r"own_network\.py$",  # written by an example
    "within_subsection_order": "FileNameSortKey",
    "default_thumb_file": str(NO_PICTURE),
    "abort_on_example_error": True,
    "image_scrapers": ("gallery_scraper.scrape",),
    "capture_repr": (),  # what is printed, alone
    "min_reported_time": 3600,
    "download_all_examples": False,
    "show_memory": False,
    "write_computation_times": False,
    "remove_config_comments": True,
}


def _plain_markup(app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are written as Markdown: code by one backtick or by an indent, | and * as themselves."""
    written, code = [], False
    for number, line in enumerate(lines):
        code = code and (not line or line[:1] == " ")
        if line[:4] == " " * 4 and number > 1 and not lines[number - 1] and lines[number - 2][:1] not in {"", " "}:
            code = True
            written += ["::", ""]
        written.append(line if code else _escaped(line))
    lines[:] = written


def _escaped(line: str) -> str:
    if re.match(r"\s*\*{1,2}\w+.*?:", line):  # an argument such as **kwargs: napoleon knows it
        return line
    parts = re.split(r"(`[^`]+`)", line)
    return "".join(f"`{part}`" if part[:1] == "`" else re.sub(r"([|*])", r"\\\1", part) for part in parts)


def _links_of_included(app: Any, path: Any, parent: str, content: list[str]) -> None:
    """CONTRIBUTING and CHANGELOG link as they must where they lie; here they are one folder further down."""
    content[0] = content[0].replace("](docs/", "](").replace("](CHANGELOG.md)", "](changelog.md)")


def setup(app: Any) -> None:
    """What Sphinx calls."""
    app.connect("autodoc-process-docstring", _plain_markup, priority=400)
    app.connect("include-read", _links_of_included)
