"""Sharpness-aware minimization: gradients of perturbed parameters."""
