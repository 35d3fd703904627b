"""Curvature: eigenvalues at both ends, trace, density and a verdict for every class and group."""
