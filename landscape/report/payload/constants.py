"""What Python and the page's scripts must agree on: said once here, read there from the page's data."""

from __future__ import annotations

from typing import Any

from landscape.comparison import packing
from landscape.comparison.caveats.measurement import VISIBLE
from landscape.comparison.columns import Z95
from landscape.comparison.formatting import SAME
from landscape.report.payload.budget import EXTREMES
from landscape.schema import FAILED, INTERPOLATED, MEASURED, NEGATIVE, NON_FINITE, NONE_FOUND, TODO, UNDECIDED, VERDICTS

_VERDICT_WORDS = {
    NEGATIVE: ("▼", "negative curvature, proven", "negative"),
    NONE_FOUND: ("○", "no negative curvature found", "none found"),
    UNDECIDED: ("?", "undecided within the noise", "undecided"),
}


def constants() -> dict[str, Any]:
    """Codes, thresholds and words that files, numbers and page share.

    Returns:
        `packing`: the 16-bit codes; `status`: cells' codes by meaning; `verdicts` in the order of their index, each
        with its sign and words; `z95`; `extremes`: how many of the sharpest and flattest classes stand for many;
        `same`: ratios nearer to one are told as equal; `visible`: hidden shares of distance above this are told.
    """
    return {
        "packing": {
            "steps": packing.STEPS, "zero": packing.ZERO, "minus": packing.MINUS, "plus": packing.PLUS,
            "nan": packing.NAN,
        },
        "status": {
            "todo": TODO, "measured": MEASURED, "nonFinite": NON_FINITE, "failed": FAILED,
            "interpolated": INTERPOLATED,
        },
        "verdicts": [
            {"name": name, "sign": sign, "words": words, "short": short}
            for name, (sign, words, short) in ((name, _VERDICT_WORDS[name]) for name in VERDICTS)
        ],
        "z95": Z95,
        "extremes": EXTREMES,
        "same": SAME,
        "visible": VISIBLE,
    }  # fmt: skip
