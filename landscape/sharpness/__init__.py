"""Sharpness: how much the loss of every class and group can increase near the trained weights."""
