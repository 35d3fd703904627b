"""The colors of runs, the same in page, figures and notebook: apart from each other under common color blindness."""

from __future__ import annotations

LIGHT = ("#0072b2", "#d55e00", "#00805c", "#a04a8c", "#5b5f66", "#8a6d00", "#1f9bcf", "#7a3b1d")
"""On a light ground; blue, vermilion, green and purple after Okabe and Ito's palette (2008), darkened to be read."""
DARK = ("#56b4e9", "#f58f4c", "#35c79c", "#dd9fce", "#b4bac3", "#e0c45c", "#8fd6ff", "#d99a7a")
"""On a dark ground."""
