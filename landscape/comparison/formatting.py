"""Numbers in words and figures that a reader takes in at a glance."""

from __future__ import annotations

import math
from collections.abc import Sequence

SAME = 1.02
"""Ratios nearer to one are told as equal."""
_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def figure(value: float) -> str:
    """A number to three significant digits: 0.0213, 41.2, 1,830, 2.1 × 10⁻⁶, with a true minus sign."""
    if math.isnan(value):
        return "not a number"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.2e}"))))
    if exponent < -3 or exponent > 5:
        mantissa = f"{value / 10.0**exponent:.1f}".removesuffix(".0")
        power = f"10{str(exponent).translate(_SUPERSCRIPTS)}"
        text = power if mantissa == "1" else f"{mantissa} × {power}"
    else:
        text = f"{value:,.{max(0, 2 - exponent)}f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
    return text.replace("-", "−")


def percent(share: float) -> str:
    """A share as a percentage with one decimal: 72.0 %."""
    return f"{100 * share:.1f} %"


def factor(ratio: float) -> str:
    """How many times, always told as a number above one: `÷8.0` or `×1.3`; `=` within two per cent."""
    if not math.isfinite(ratio) or ratio <= 0:
        return "no ratio"
    if 1 / SAME < ratio < SAME:
        return "="
    return f"×{_times(ratio)}" if ratio > 1 else f"÷{_times(1 / ratio)}"


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if ratio < 2 else f"{ratio:.1f}" if ratio < 10 else figure(float(f"{ratio:.2g}"))


def times(ratio: float) -> str:
    """A ratio above one in a sentence: `8.0×`."""
    return f"{_times(ratio)}×"


def listing(names: Sequence[str], most: int = 4) -> str:
    """Names in a sentence: `a`, `a and b`, `a, b and c`, `a, b, c and 5 more`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])} and {len(names) - most + 1} more"
    if len(names) < 2:
        return "".join(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def count(number: int, noun: str) -> str:
    """A number and its noun: `1 class`, `1,203 samples`; classes take -es."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"


def quoted(name: str, most: int = 40) -> str:
    """A name in a sentence, cut when it is long."""
    return f"“{name if len(name) <= most else name[: most - 1] + '…'}”"
