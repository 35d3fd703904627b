"""Losses for long-tailed data, one family a file."""
