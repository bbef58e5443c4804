"""Which parts of a parameter move."""
