"""Gradients of several tasks, combined into one update."""
