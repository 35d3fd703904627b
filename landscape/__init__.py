"""Measures the loss landscape of one trained classifier, class by class, stores the numbers and draws them.

The names below are the public face. They are imported when first used: `import landscape` stays cheap, and
`python -m landscape.hessian` does not find its own module imported beforehand.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from landscape.checkpoints import open_checkpoint as open_checkpoint
    from landscape.curvature.subsets import measure_hessian as measure_hessian
    from landscape.grid import measure_surface as measure_surface
    from landscape.notebook import open as open
    from landscape.report import write_report as write_report
    from landscape.rises import measure_sharpness as measure_sharpness
    from landscape.store import read_landscape as read_landscape
    from landscape.subject import Subject as Subject
    from landscape.subject import TensorSamples as TensorSamples

_HOMES = {
    "Subject": "landscape.subject",
    "TensorSamples": "landscape.subject",
    "measure_hessian": "landscape.curvature.subsets",
    "measure_sharpness": "landscape.rises",
    "measure_surface": "landscape.grid",
    "open": "landscape.notebook",
    "open_checkpoint": "landscape.checkpoints",
    "read_landscape": "landscape.store",
    "write_report": "landscape.report",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public name from its home."""
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
