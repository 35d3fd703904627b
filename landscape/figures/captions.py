"""Captions to paste: what each figure shows, on which split, and what its bars and marks are."""

from __future__ import annotations

from collections.abc import Collection

from landscape.comparison.compare import Comparison
from landscape.comparison.formatting import listing
from landscape.comparison.table import View
from landscape.figures.bars import shown_measures


def captions(compared: Comparison, view: View, written: Collection[str]) -> str:
    """A paragraph a figure, each of which states only what these files hold.

    Args:
        compared: The runs and their subsets.
        view: The split that was drawn.
        written: Names of the figures that were written.

    Returns:
        Plain text.
    """
    runs = listing([run.name for run in compared.runs], 6)
    errors = {
        measure.title: measure.error
        for measure in shown_measures(compared, view)
        if measure.error and any(c[measure.key].low is not None for c in view.columns if measure.key in c)
    }
    bars = "".join(f" {title}: {error}." for title, error in errors.items())
    where = f"{runs}, {view.name} split"
    texts = {
        "bars": f"Measures by class for {where}.{f' Error bars:{bars}' if bars else ''}",
        "spectra": f"Hessian spectra by class for {where}: the share of eigenvalues at or above λ right of 0 and at or "
        "below it left of 0; circles are eigenvalues found one by one, steps between them are estimated by stochastic "
        "Lanczos quadrature.",
        "ridgelines": f"The share of eigenvalues beyond λ for {where}, classes from head to tail by training count; "
        "heights are logarithmic.",
        "contours": f"Loss over a plane through the weights of {runs}; the cross is the trained network, one "
        "logarithmic color scale for all panels.",
    }  # fmt: skip
    seeds = "Each run is one trained network." if len(compared.runs) > 1 else "The run is one trained network."
    return "\n\n".join(f"{name}: {text} {seeds}" for name, text in texts.items() if name in written) + "\n"
