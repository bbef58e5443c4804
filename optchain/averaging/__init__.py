"""Averages of the parameters."""
