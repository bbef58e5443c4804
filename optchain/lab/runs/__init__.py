"""The folder of a run: what is in it, and who writes to it."""
