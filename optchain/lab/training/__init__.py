"""The loop: many steps compiled as one, checkpoints, scores."""
