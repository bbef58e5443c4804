"""Training Flax models with optchain: configurations, runs and their reports."""
