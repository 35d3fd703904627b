"""Measures the loss landscape of one trained classifier, class by class, stores the numbers and draws them.

The names below are the public face. They are imported when first used: `import landscape` stays cheap, and
`python -m landscape.hessian` does not find its own module imported beforehand.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

import foundation

if TYPE_CHECKING:
    __version__: str
    from landscape.figures import write_figures as write_figures
    from landscape.files.checkpoint import open_checkpoint as open_checkpoint
    from landscape.files.landscape_file import read_landscape as read_landscape
    from landscape.hessian.batch_eigenvalues import batch_eigenvalues as batch_eigenvalues
    from landscape.hessian.measure import measure_hessian as measure_hessian
    from landscape.hessian.measure_cross_class import measure_cross_class as measure_cross_class
    from landscape.hessian.result import HessianSettings as HessianSettings
    from landscape.hessian.top_eigenvalues import top_eigenvalues as top_eigenvalues
    from landscape.notebook import open as open
    from landscape.recording.callbacks import lightning_callback as lightning_callback
    from landscape.recording.callbacks import transformers_callback as transformers_callback
    from landscape.recording.check import check as check
    from landscape.recording.measure import measure as measure
    from landscape.recording.save import save as save
    from landscape.recording.track import Track as Track
    from landscape.recording.track import read_track as read_track
    from landscape.recording.tracker import Tracker as Tracker
    from landscape.report import write_report as write_report
    from landscape.sharpness.measure import measure_sharpness as measure_sharpness
    from landscape.sharpness.result import SharpnessSettings as SharpnessSettings
    from landscape.subject.samples import TensorSamples as TensorSamples
    from landscape.subject.subject import Subject as Subject
    from landscape.surface.measure import measure_surface as measure_surface
    from landscape.surface.plane import Plane as Plane
    from landscape.surface.plane import random_plane as random_plane
    from landscape.surface.plane_kinds import checkpoints_plane as checkpoints_plane
    from landscape.surface.plane_kinds import eigen_plane as eigen_plane
    from landscape.surface.plane_kinds import gradient_plane as gradient_plane
    from landscape.surface.plane_kinds import pca_plane as pca_plane
    from landscape.surface.result import SurfaceSettings as SurfaceSettings
    from landscape.verification.selftest import selftest as selftest
    from landscape.verification.verify import verify as verify

if not hasattr(foundation, "__longtail_landscape__"):
    _place = getattr(foundation, "__file__", None)
    _sentence = (
        f"another package named 'foundation' ({_place}) hides the one of longtail-landscape: "
        "run from another folder, or take it off PYTHONPATH or out of the environment"
    )
    # `python -m` is still looking for its module: no command is there yet that could say the sentence.
    raise SystemExit(f"error: {_sentence}") if sys.argv[:1] == ["-m"] else ImportError(_sentence)

_HOMES = {
    "HessianSettings": "landscape.hessian.result",
    "Plane": "landscape.surface.plane",
    "SharpnessSettings": "landscape.sharpness.result",
    "Subject": "landscape.subject.subject",
    "SurfaceSettings": "landscape.surface.result",
    "TensorSamples": "landscape.subject.samples",
    "Track": "landscape.recording.track",
    "Tracker": "landscape.recording.tracker",
    "batch_eigenvalues": "landscape.hessian.batch_eigenvalues",
    "check": "landscape.recording.check",
    "checkpoints_plane": "landscape.surface.plane_kinds",
    "eigen_plane": "landscape.surface.plane_kinds",
    "gradient_plane": "landscape.surface.plane_kinds",
    "lightning_callback": "landscape.recording.callbacks",
    "measure": "landscape.recording.measure",
    "measure_cross_class": "landscape.hessian.measure_cross_class",
    "measure_hessian": "landscape.hessian.measure",
    "measure_sharpness": "landscape.sharpness.measure",
    "measure_surface": "landscape.surface.measure",
    "open": "landscape.notebook",
    "open_checkpoint": "landscape.files.checkpoint",
    "pca_plane": "landscape.surface.plane_kinds",
    "random_plane": "landscape.surface.plane",
    "read_landscape": "landscape.files.landscape_file",
    "read_track": "landscape.recording.track",
    "save": "landscape.recording.save",
    "selftest": "landscape.verification.selftest",
    "top_eigenvalues": "landscape.hessian.top_eigenvalues",
    "transformers_callback": "landscape.recording.callbacks",
    "verify": "landscape.verification.verify",
    "write_figures": "landscape.figures",
    "write_report": "landscape.report",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    """Imports a public name from its home."""
    if name == "__version__":
        from foundation.packages import package_version

        return package_version()
    if name not in _HOMES:
        raise AttributeError(f"module 'landscape' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)
