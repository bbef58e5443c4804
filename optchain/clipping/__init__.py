"""Clipping: by value, by the norm of a leaf, by the norm of all."""
