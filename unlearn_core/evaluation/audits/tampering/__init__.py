"""Attacks on the model itself: weights taught again or rounded, wrappers taken off, hidden states pushed."""
