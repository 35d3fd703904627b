"""Measures the loss landscape of one trained classifier, class by class, stores the numbers and draws them."""
