"""Surfaces: loss and accuracy of every class and group over a plane through weight space."""
