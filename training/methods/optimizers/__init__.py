"""Optimizers that perturb the weights before they step, one family a file."""
