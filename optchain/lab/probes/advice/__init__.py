"""Advice on how to begin: what data, model and gradients say about each number of a configuration."""
