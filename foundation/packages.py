"""The distribution and its packages, whose names are common ones: another `training` may lie first on the path."""

from __future__ import annotations

import sys
from importlib import metadata, util
from pathlib import Path

from foundation.errors import ForeignPackageError

_ROOT = Path(__file__).resolve().parent.parent


def package_version() -> str:
    """The installed version of this distribution, `"unknown"` when it runs uninstalled."""
    try:
        return metadata.version("longtail-landscape")
    except metadata.PackageNotFoundError:
        return "unknown"


def require_own(*names: str) -> None:
    """Makes sure that packages are those of this distribution, without importing them.

    While `python -m` is still looking for its module there is no command that could say the sentence: then the process
    ends here with it.

    Args:
        *names: Packages that lie beside this one, such as `"training"`.

    Raises:
        ForeignPackageError: One is missing, or another of its name would be imported.
    """
    for name in names:
        spec = util.find_spec(name)
        if spec is None:
            sentence = f"the package {name!r} of longtail-landscape is missing: install longtail-landscape again"
        else:
            place = Path(spec.origin or next(iter(spec.submodule_search_locations or ()), "")).resolve()
            if place == _ROOT / name / "__init__.py":
                continue
            sentence = (
                f"another package named {name!r} ({place}) hides the one of longtail-landscape: "
                "run from another folder, or take it off PYTHONPATH or out of the environment"
            )
        if sys.argv[:1] == ["-m"]:
            sys.exit(f"error: {sentence}")
        raise ForeignPackageError(sentence)
