"""Optimizers side by side, each at its best, on fresh seeds."""
