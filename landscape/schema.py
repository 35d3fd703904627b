"""What numbers, files and page share: status codes, verdicts, thresholds and the version of the file format."""

from __future__ import annotations

SCHEMA = "landscape"
SCHEMA_VERSION = 1

TODO, MEASURED, NON_FINITE, FAILED, INTERPOLATED = range(5)
"""Values of every `status` data set."""

NEGATIVE, NONE_FOUND, UNDECIDED = "negative", "none-found", "undecided"
"""What is said of negative curvature."""
VERDICTS = (NEGATIVE, NONE_FOUND, UNDECIDED)

PYHESSIAN_AGREES = 0.02
"""PyHessian stops when a step changes the eigenvalue by a thousandth; it may be off by ten of these, or a few more."""
