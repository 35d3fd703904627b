"""The page's colors: of runs; viridis for what only grows, blue to orange through neutral for what has a zero."""

from __future__ import annotations

import math

import matplotlib as mpl
import numpy as np

from landscape.comparison.run_colors import DARK, LIGHT

STOPS = 33
READABLE = 4.6
"""WCAG AA asks for 4.5; rounding to 8 bits takes a little."""
GROUND, GROUND_DARK = "#f1efe9", "#1e232a"
"""The grounds of the page on which text stands that contrast least with it: those of `report.css`."""


def run_colors() -> str:
    """Style that names the runs' colors, light and dark: `--run-0` to draw with, `--run-text-0` to write with."""
    return "".join(
        f"{theme} {{ {' '.join(_names(i, color, ground) for i, color in enumerate(colors))} }}\n"
        for theme, colors, ground in ((":root", LIGHT, GROUND), (':root[data-theme="dark"]', DARK, GROUND_DARK))
    )


def _names(position: int, color: str, ground: str) -> str:
    return f"--run-{position}: {color}; --run-text-{position}: {readable(color, ground)};"


def contrast(color: str, other: str) -> float:
    """The contrast ratio of two colors, 1 to 21 (WCAG 2.2, relative luminance)."""
    low, high = sorted(_luminance(mpl.colors.to_rgb(name)) for name in (color, other))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: tuple[float, float, float]) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def readable(color: str, ground: str) -> str:
    """The color, moved away from its ground until text in it can be read (WCAG AA, 4.5 to 1)."""
    end = "#000000" if _luminance(mpl.colors.to_rgb(ground)) > 0.18 else "#ffffff"
    for share in np.linspace(0, 1, 41):
        mixed = (1 - share) * np.array(mpl.colors.to_rgb(color)) + share * np.array(mpl.colors.to_rgb(end))
        if contrast(found := str(mpl.colors.to_hex(mixed)), ground) >= READABLE:
            return found
    return end


def sequential() -> list[str]:
    """Viridis (van der Walt and Smith, 2015): even steps in perceived lightness, safe for color-blind readers."""
    return [mpl.colors.to_hex(color) for color in mpl.colormaps["viridis"](np.linspace(0, 1, STOPS))]


def diverging(*, dark: bool) -> list[str]:
    """Blue, neutral, orange in even steps of Oklab lightness (Ottosson, 2020); the middle is the page's own ground.

    Blue against orange stays apart under every common color blindness.

    Args:
        dark: Whether the neutral middle is dark (ends are light) or light (ends are dark).

    Returns:
        `STOPS` hexadecimal colors, the middle one neutral.
    """
    middle, end = (0.24, 0.80) if dark else (0.97, 0.45)
    colors = []
    for step in np.linspace(-1, 1, STOPS):
        strength = abs(step)
        hue = math.radians(252 if step < 0 else 52)
        chroma = 0.13 * math.sin(strength * math.pi / 2)
        lightness = middle + (end - middle) * strength
        colors.append(_oklch(lightness, chroma, hue))
    return colors


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    """Polar Oklab to sRGB, clipped to the gamut (Ottosson, "A perceptual color space", 2020)."""
    lab = np.array([lightness, chroma * math.cos(hue), chroma * math.sin(hue)])
    cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    linear = (
        np.array(
            [
                [4.0767416621, -3.3077115913, 0.2309699292],
                [-1.2684380046, 2.6097574011, -0.3413193965],
                [-0.0041960863, -0.7034186147, 1.7076147010],
            ]
        )
        @ (cones @ lab) ** 3
    )
    linear = np.clip(linear, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return str(mpl.colors.to_hex(encoded))
