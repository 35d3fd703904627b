"""Batches: which samples, in what order, read, augmented and mixed."""
