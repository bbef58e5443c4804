"""Weights that stay exactly zero: masks, and along which axes methods of sparse training differ."""
