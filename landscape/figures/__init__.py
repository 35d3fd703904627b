"""Figures for papers: matplotlib pictures and a LaTeX table from landscape files."""

from landscape.figures.write import Figures, write_figures

__all__ = ["Figures", "write_figures"]
