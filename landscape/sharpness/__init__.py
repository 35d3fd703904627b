"""Sharpness: how much the loss of every class and group can rise near the trained weights."""
